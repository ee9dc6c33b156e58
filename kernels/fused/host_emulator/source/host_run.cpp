// One emulated launch of the kernel of KS_TILE, called from tests through ctypes.
#ifdef KS_SECOND_TILE
#include "chain.cu"
#else
#include "fused.cu"
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
  ks::host::Block block(threads, seed);
  block.global.hold(arrays, count);
  block.banks.watching = traffic != nullptr;
  ks::host::running = &block;
  bool fine = true;
  for (unsigned index = first; index < end && fine; ++index) {
    fine = block.run(index, shared_bytes, second ? second_pass : product, arguments);
  }
  ks::host::running = nullptr;
  if (traffic) std::copy(block.banks.traffic, block.banks.traffic + ks::host::ACCESS_KINDS, traffic);
  std::snprintf(message, message_bytes, "%s", block.message);
  return fine ? 0 : 1;
}
