"""A framework for graphs of reactive operators, declared in YAML."""
