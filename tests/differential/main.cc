// differential_test --kafka HOST:PORT --millrace HOST:PORT [--expected FILE] [--only NAME] [--json]
//
// Sends the same requests to Apache Kafka and to Millrace and compares the answers field by field. Both
// brokers must be fresh. The last line is "N passed, N failed", in requests and entries of the list;
// tests/differential/run starts both and runs it.
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "tests/differential/scenarios.h"

namespace {

using namespace millrace::differential;

struct Options {
  std::string kafka, millrace, expected = "tests/differential/expected_differences", only;
  bool json = false;
};

struct Scenario {
  const char* name;
  void (*run)(Comparison&);
};

constexpr Scenario kScenarios[] = {
    {"cluster", compare_cluster}, {"metadata", compare_metadata}, {"topics", compare_topics},
    {"configs", compare_configs}, {"produce", compare_produce},   {"producers", compare_producers},
    {"fetch", compare_fetch},     {"offsets", compare_offsets},   {"groups", compare_groups},
};

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--json") {
      options.json = true;
      continue;
    }
    if (++i == argc) return false;
    if (name == "--kafka") {
      options.kafka = argv[i];
    } else if (name == "--millrace") {
      options.millrace = argv[i];
    } else if (name == "--expected") {
      options.expected = argv[i];
    } else if (name == "--only") {
      options.only = argv[i];
    } else {
      return false;
    }
  }
  return !options.kafka.empty() && !options.millrace.empty();
}

// Entries of the list that met no difference; with --only most don't, and that is no failure.
size_t stale_entries(const Expectations& expectations, const Options& options) {
  size_t stale = 0;
  for (const auto& entry : expectations.entries()) {
    if (entry.count > 0 || !options.only.empty()) continue;
    ++stale;
    std::fprintf(options.json ? stderr : stdout, "%s:%d: matches no difference: %s :: %s\n",
                 options.expected.c_str(), entry.line, entry.step.c_str(), entry.path.c_str());
  }
  return stale;
}

void print_expected(const Expectations& expectations) {
  std::vector<size_t> counts(expectations.reasons().size());
  for (const auto& entry : expectations.entries()) counts[entry.reason] += entry.count;
  for (size_t i = 0; i < counts.size(); ++i)
    std::printf("%6zu expected: %s\n", counts[i], expectations.reasons()[i].c_str());
}

int run(const Options& options) {
  Expectations expectations(options.expected);
  Peer kafka("Kafka", options.kafka);
  Peer millrace("Millrace", options.millrace);
  std::FILE* details = options.json ? stderr : stdout;
  Comparison comparison(kafka, millrace, expectations, details);
  comparison.learn_versions();
  size_t broken = 0;
  for (const Scenario& scenario : kScenarios) {
    if (!options.only.empty() && options.only != scenario.name) continue;
    try {
      scenario.run(comparison);
    } catch (const std::exception& error) {
      ++broken;
      std::fprintf(details, "scenario %s broke off: %s\n", scenario.name, error.what());
    }
  }
  const Comparison::Totals& totals = comparison.totals();
  const size_t stale = stale_entries(expectations, options);
  const size_t failed = totals.failed_requests + stale + broken;
  if (options.json) {
    std::printf(
        "{\"requests\":%zu,\"fields\":%zu,\"expected\":%zu,\"unexpected\":%zu,\"stale\":%zu,\"broken\":%zu}"
        "\n",
        totals.requests, totals.fields, totals.expected, totals.unexpected, stale, broken);
  } else {
    print_expected(expectations);
    std::printf("%zu requests and %zu fields compared, %zu expected differences, %zu differences left\n",
                totals.requests, totals.fields, totals.expected, totals.unexpected);
    std::printf("%zu passed, %zu failed\n", totals.requests - totals.failed_requests, failed);
  }
  return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::fprintf(
        stderr, "usage: %s --kafka HOST:PORT --millrace HOST:PORT [--expected FILE] [--only NAME] [--json]\n",
        argv[0]);
    return 2;
  }
  try {
    return run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "differential_test: %s\n", error.what());
    return 1;
  }
}
