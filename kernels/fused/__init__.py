"""The fused product: one CUDA kernel for every problem, and its twin for the CPU.

To read the kernel, open `cuda/source/fused.cu` and then, in the order of the data: `tile.cuh` (sizes and
offsets), `copy.cuh` (global to shared memory), `cores.cuh` or `tensor_cores.cuh` (the sums), `store.cuh`,
and `sum_parts.cuh` where c is split into parts. `hopper.cu` is the version with wgmma and TMA,
`hopper_persistent.cu` the one whose persistent blocks copy, multiply and store at the same time. In `cuda/`,
`tile_candidates.py` lists the tiles, `estimate.py` ranks them, `compile.py` compiles one and `launch.py`
launches it. `host_emulator/` runs the same source on the CPU, thread by thread, for tests;
`cuda_checks/resources.py` counts the registers and instructions of the compiled code. `cpu_twin/` is the
product on a CPU.
"""
