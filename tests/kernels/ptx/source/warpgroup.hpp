// What the scheduler does for wgmma.
#pragma once

#include "machine.hpp"

namespace ptx {

/// Reports the use of registers that a wgmma under way reads or writes, and remembers those that are written.
void watch_registers(Warp& warp, const Instruction& instruction);

}  // namespace ptx
