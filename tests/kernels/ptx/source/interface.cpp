// The functions that Python calls.
#include <cstdio>
#include <thread>

#include "formats.hpp"
#include "machine.hpp"

using namespace ptx;

namespace {

struct Launch {
  u32 grid, threads, dynamic_bytes;
  const u8* parameters;
  size_t parameter_bytes;
  const Region* regions;
  u32 region_count;
  const u32* clusters;  // those to run; all if null
  u32 cluster_count;
};

void check_launch(Run& run) {
  const Kernel& k = *run.kernel;
  const auto report = [&](const std::string& text) {
    run.faults["launch: " + text] = {"launch: " + text, 1};
  };
  if (run.parameters.size() != k.parameter_bytes) {
    report("packs " + std::to_string(run.parameters.size()) + " bytes of parameters; the kernel takes " +
           std::to_string(k.parameter_bytes));
  }
  if (k.max_threads && int(run.threads) > k.max_threads) {
    report("block of " + std::to_string(run.threads) + " threads; the kernel allows " +
           std::to_string(k.max_threads));
  }
  const u32 cluster = run.options.cluster;
  if (k.cluster_blocks && k.cluster_blocks != cluster) {
    report("clusters of " + std::to_string(cluster) + " blocks; the kernel requires " +
           std::to_string(k.cluster_blocks));
  }
  if (run.grid % cluster) report("the grid holds no whole number of clusters");
}

void run_all(Run& run, const Launch& launch) {
  std::atomic<u32> next{0};
  const u32 count = launch.clusters ? launch.cluster_count : run.grid / run.options.cluster;
  const auto work = [&] {
    Cluster cluster(run);
    for (u32 at = next++; at < count; at = next++) {
      if (run.faults.size() > size_t(run.options.max_faults)) return;
      run_cluster(cluster, launch.clusters ? launch.clusters[at] : at);
    }
  };
  std::vector<std::thread> threads;
  for (int n = 1; n < run.options.threads; ++n) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

extern "C" {

/// A module, or null with a message.
void* ptx_load(const char* text, char* message, size_t bytes) {
  auto module = std::make_unique<Module>();
  try {
    parse_module(*module, text);
  } catch (const Error& error) {
    snprintf(message, bytes, "%s", error.message.c_str());
    return nullptr;
  }
  return module.release();
}

void ptx_free(void* module) { delete static_cast<Module*>(module); }

/// Threads allowed, blocks required, parameter bytes, static shared bytes, instructions, blocks of a cluster.
int ptx_facts(void* module, const char* entry, int* facts) {
  const auto& kernels = static_cast<Module*>(module)->kernels;
  const auto found = kernels.find(entry);
  if (found == kernels.end()) return 1;
  const Kernel& k = found->second;
  const int all[] = {k.max_threads,          k.min_blocks,
                     int(k.parameter_bytes), int(k.static_shared_bytes),
                     int(k.code.size()),     int(k.cluster_blocks)};
  std::copy(std::begin(all), std::end(all), facts);
  return 0;
}

/// 0 if nothing was found; the report has a line for each fault and note. counts: instructions of warps, of
/// lanes, divergent branches, late meetings.
int ptx_launch(void* module, const char* entry, const Launch* launch, const Options* options, char* report,
               size_t report_bytes, u64* counts) {
  const auto& kernels = static_cast<Module*>(module)->kernels;
  const auto found = kernels.find(entry);
  if (found == kernels.end()) {
    snprintf(report, report_bytes, "FAULT x1 no kernel %s", entry);
    return 1;
  }
  Run run;
  run.kernel = &found->second;
  run.grid = launch->grid;
  run.threads = launch->threads;
  run.dynamic_bytes = launch->dynamic_bytes;
  run.parameters.assign(launch->parameters, launch->parameters + launch->parameter_bytes);
  run.regions.assign(launch->regions, launch->regions + launch->region_count);
  run.options = *options;
  check_launch(run);
  run_all(run, *launch);
  std::string text;
  for (const auto& [key, fault] : run.faults)
    text += "FAULT x" + std::to_string(fault.count) + " " + fault.text + "\n";
  for (const auto& [note, count] : run.notes) text += "NOTE x" + std::to_string(count) + " " + note + "\n";
  snprintf(report, report_bytes, "%s", text.c_str());
  const u64 all[] = {run.instructions, run.lane_instructions, run.divergent_branches, run.late_meetings};
  std::copy(std::begin(all), std::end(all), counts);
  return run.faults.empty() ? 0 : 2;
}

}  // extern "C"
