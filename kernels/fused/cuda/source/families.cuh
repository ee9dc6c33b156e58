// The families of mma.sync and of the CUDA cores, by their names in a tile.
#pragma once

#include "cores.cuh"
#include "tensor_cores.cuh"

namespace ks {

template <class T, Family>
struct MultiplyBy { using Type = OnCores<T>; };
template <class T>
struct MultiplyBy<T, tensor_cores> { using Type = OnTensorCores<T>; };

}  // namespace ks
