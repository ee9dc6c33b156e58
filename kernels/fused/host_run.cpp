// One emulated launch of the kernel that KS_TILE names, called from tests through ctypes.
#include "fused.cu"

namespace {

void kernel(const void* arguments) { ks_product(*static_cast<const ks::Arguments*>(arguments)); }

}  // namespace

/// Runs blocks 0 .. blocks - 1 on the packed `arguments`, exactly the bytes that a launch passes.
/// Returns 0, or 1 with the first defect that a thread met in `message`.
extern "C" int ks_host_run(const void* arguments, unsigned blocks, int threads, size_t shared_bytes,
                           unsigned seed, const ks::host::Array* arrays, int count, char* message,
                           size_t message_bytes) {
  ks::host::Block block(threads, seed);
  block.global.hold(arrays, count);
  ks::host::running = &block;
  bool fine = true;
  for (unsigned index = 0; index < blocks && fine; ++index) {
    fine = block.run(index, shared_bytes, kernel, arguments);
  }
  ks::host::running = nullptr;
  std::snprintf(message, message_bytes, "%s", block.message);
  return fine ? 0 : 1;
}
