"""What becomes of a message: decisions (`router`) and trace fields (`trace`). Pure; `protocols` calls it."""
