"""The whole way from a corpus to training files, stage by stage, from one YAML file."""
