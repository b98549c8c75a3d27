"""What people see: sentences, tables, a progress bar, questions."""
