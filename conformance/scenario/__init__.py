"""The scenario format: from a YAML file to cases, with every mistake shown at its place.

- `model`: what a file may say; `case`: what the runner gets.
- `document` reads YAML with positions, `matrix` puts the variables in, `validation` holds it against the
  model, `checks` looks at what no single value shows; `loader` is the door: it does all four.
- `needs`: what a scenario needs of the adapter and of the network. `schema`: JSON Schema for editors.

Everything here is pure but for reading the files. No module of it opens a socket or knows a server.
"""
