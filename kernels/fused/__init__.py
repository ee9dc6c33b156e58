"""The fused product: one CUDA kernel for every problem, and its twin for the CPU.

To read the kernel, open `fused.cu` and then, in the order of the data: `tile.cuh` (sizes and places),
`copy.cuh` (global to shared memory), `cores.cuh` or `tensor_cores.cuh` (the sums), `store.cuh`, and
`sum_parts.cuh` where c is cut into parts. `hopper.cu` is the same by wgmma and TMA. `tiles.py` lists the
tiles, `estimate.py` ranks them, `compile.py` has one compiled and `launch.py` launches it. `host.py` runs
the same source on the CPU, thread by thread, for tests; `resources.py` says what the compiler made of it.
The twin's files are named after it.
"""
