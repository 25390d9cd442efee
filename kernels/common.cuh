// Shared by the kernels.
