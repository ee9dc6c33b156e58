"""The fused product: one CUDA kernel for every problem, and its twin for the CPU.

To read the kernel, open `fused.cu` and then, in the order of the data: `tile.cuh` (sizes and places),
`copy.cuh` (global to shared memory), `cores.cuh` or `tensor_cores.cuh` (the sums), `store.cuh`.
`tiles.py` chooses a tile, `compile.py` has it compiled and `launch.py` launches it. `host.py` runs
the same source on the CPU, thread by thread, for tests. The twin's files are named after it.
"""
