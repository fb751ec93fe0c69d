"""The kernels in NumPy: slow, plain, and the specification that the C++ twins are tested against."""
