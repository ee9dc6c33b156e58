// mbarrier objects, and what happens at barriers when warps end.
#pragma once

#include "memory.hpp"

namespace ptx {

/// The mbarrier object at an address; reports one that is not initialised, or not yet for this warp.
MemoryBarrier* find_barrier(Warp& warp, int lane, Place place);
/// Reports an mbarrier whose initialisation the async proxy may not see yet.
void check_async_barrier(Warp& warp, int lane, Place place);
/// Counts bytes that a bulk copy has brought.
void complete_bytes(Cluster& cluster, Block& block, u32 address, s64 bytes);
/// A warp has left: barriers no longer wait for it.
void leave_barriers(Warp& warp);

}  // namespace ptx
