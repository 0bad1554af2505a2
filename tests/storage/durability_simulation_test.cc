// MILLRACE_SEEDS=N runs so many seeds; MILLRACE_SEED=N runs that one and tells what happens.
#include "tests/storage/durability_simulation.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <iostream>
#include <numeric>

namespace millrace::storage::test {
namespace {

constexpr uint32_t kSeeds = 300;
// Beyond them: each found a mistake that was in the storage once.
constexpr uint32_t kInstructiveSeeds[] = {501, 592, 3095, 765, 1638, 2692};
constexpr size_t kReportedFailures = 20;
// Within so many each planted mistake must be noticed.
constexpr uint32_t kPlantedSeeds = 2000;

uint32_t number_from(const char* variable, uint32_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : static_cast<uint32_t>(std::strtoul(text, nullptr, 10));
}

// What was violated; empty if nothing was.
std::string run(uint32_t seed, Plant plant, SimulationCounts& counts, bool aloud = false) {
  DurabilitySimulation simulation(seed, plant);
  if (aloud) simulation.trace = [](const std::string& what) { std::cout << what << '\n'; };
  std::string violation;
  try {
    simulation.run();
  } catch (const Violation& found) {
    violation = found.what();
  }
  counts.add(simulation.counts());
  return violation;
}

TEST_CASE("Whatever happens to a shard's storage, what was acknowledged is there, and nothing else") {
  const uint32_t only = number_from("MILLRACE_SEED", 0);
  const uint32_t count = number_from("MILLRACE_SEEDS", kSeeds);
  std::vector<uint32_t> seeds(only > 0 ? 1 : count, only);
  if (only == 0) {
    std::iota(seeds.begin(), seeds.end(), 1);
    seeds.insert(seeds.end(), std::begin(kInstructiveSeeds), std::end(kInstructiveSeeds));
  }
  SimulationCounts counts;
  size_t failed = 0;
  for (const uint32_t seed : seeds) {
    const std::string violation = run(seed, Plant::kNone, counts, only > 0);
    if (violation.empty()) continue;
    FAIL_CHECK("MILLRACE_SEED=" << seed << ": " << violation);
    if (++failed == kReportedFailures) break;
  }
  if (count != kSeeds || only > 0) {
    for (const auto& [what, times] : counts.done) std::cout << times << " " << what << '\n';
  }
}

TEST_CASE("Mistakes in the storage are noticed") {
  const auto [plant, name] = GENERATE(table<Plant, std::string>(
      {{Plant::kUnwrittenGroup, "a commit doesn't write its group"},
       {Plant::kSkippedSync, "a commit doesn't sync what it doesn't journal"},
       {Plant::kUncheckedCrc, "recovery doesn't check CRCs"},
       {Plant::kEarlyReuse, "a checkpoint frees the journal before the segments are synced"},
       {Plant::kEarlySummary, "the index calls synced what isn't yet"},
       {Plant::kJournalAfterTruncate, "a truncation doesn't leave the journal behind"},
       {Plant::kUnsyncedSwap, "a compaction swaps a file in before it is synced"},
       {Plant::kUnsyncedNames, "the names of new segments aren't synced"},
       {Plant::kKnownSalt, "a client knows the salt of the journal"},
       {Plant::kUnwrittenHeld, "what was held back isn't written"},
       {Plant::kNothingAside, "no space is set aside for what is held back"}}));
  SimulationCounts counts;
  std::string violation;
  uint32_t seed = 0;
  while (violation.empty() && seed < kPlantedSeeds) violation = run(++seed, plant, counts);
  INFO(name << ": not noticed by " << seed << " seeds");
  CHECK(!violation.empty());
  if (std::getenv("MILLRACE_SEEDS") != nullptr)
    std::cout << name << ": seed " << seed << ": " << violation << '\n';
}

}  // namespace
}  // namespace millrace::storage::test
