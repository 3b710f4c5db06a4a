"""The engine decides: graph, freshness, plan, build. It sees nodes, never a task, a disk or a clock of its own."""
