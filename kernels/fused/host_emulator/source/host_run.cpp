// One emulated launch of the kernel of KS_TILE, called from tests through ctypes.
#ifdef KS_SECOND_TILE
#include "chain.cu"
#else
#include "fused.cu"
#endif
#ifndef KS_CLUSTER
#define KS_CLUSTER 1
#endif

namespace {

#ifdef KS_SECOND_TILE
void product(const void* arguments) { ks_chain(*static_cast<const ks::ChainArguments*>(arguments)); }
#else
void product(const void* arguments) { ks_product(*static_cast<const ks::Arguments*>(arguments)); }
#endif
#if KS_PARTED
void second_pass(const void* arguments) { ks_sum_parts(*static_cast<const ks::Arguments*>(arguments)); }
#else
void second_pass(const void*) {}
#endif

}  // namespace

/// Runs blocks first .. end - 1 of the product, or of its second pass, on the packed `arguments`, which are
/// exactly the bytes of a launch. Returns 0, or 1 with the first defect in `message`; counts the passes
/// through the banks of shared memory if `traffic` is not null.
extern "C" int ks_host_run(int second, const void* arguments, unsigned first, unsigned end, int threads,
                           size_t shared_bytes, unsigned seed, const ks::host::Array* arrays, int count, char* message,
                           size_t message_bytes, ks::host::Traffic* traffic) {
  ks::host::Cluster cluster(KS_CLUSTER, threads, seed);
  for (ks::host::Block& block : cluster.blocks) {
    block.global.hold(arrays, count);
    block.banks.watching = traffic != nullptr;
  }
  const char* defect = nullptr;
  for (unsigned index = first; index < end && !defect; index += KS_CLUSTER) {
    defect = cluster.run(index, shared_bytes, second ? second_pass : product, arguments);
  }
  if (traffic) cluster.add_traffic(traffic);
  std::snprintf(message, message_bytes, "%s", defect ? defect : "");
  return defect ? 1 : 0;
}
