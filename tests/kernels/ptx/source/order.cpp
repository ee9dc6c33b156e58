// What comes before what ("Memory Consistency Model": release and acquire patterns, causality order,
// proxies).
#include <algorithm>

#include "machine.hpp"

namespace ptx {

void Knowledge::reset(size_t entries, u32 clock) {
  for (auto* clocks : {&order, &fenced, &initialised}) clocks->assign(entries, clock);
}

static void join_clocks(std::vector<u32>& into, const std::vector<u32>& from) {
  for (size_t i = 0; i < into.size(); ++i) into[i] = std::max(into[i], from[i]);
}

void Knowledge::join(const Knowledge& other) {
  join_clocks(order, other.order);
  join_clocks(fenced, other.fenced);
  join_clocks(initialised, other.initialised);
}

void release(Warp& warp, Knowledge& into) {
  into.join(warp.known);
  into.order[warp.id] = std::max(into.order[warp.id], warp.clock);
  ++warp.clock;
}

void acquire(Warp& warp, const Knowledge& from) {
  warp.known.join(from);
  warp.all_known = *std::min_element(warp.known.order.begin(), warp.known.order.end() - 1);
}

}  // namespace ptx
