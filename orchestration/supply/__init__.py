"""What is installed here: as a bill of materials, and against a database of known vulnerabilities."""
