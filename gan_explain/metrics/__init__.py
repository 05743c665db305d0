"""What is measured, one measure a file: tensors in, one number for each sample out; `aggregate` makes intervals of them."""
