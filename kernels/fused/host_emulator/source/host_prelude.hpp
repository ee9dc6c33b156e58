// The standard headers of the emulation, precompiled once for all tiles.
#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <ucontext.h>
#include <vector>
