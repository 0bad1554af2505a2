// What both benchmarks report, and how.
#pragma once

#include <string>

#include "tools/json.h"
#include "tools/latency_histogram.h"

namespace millrace::tools {

struct BenchmarkResult {
  int64_t records = 0;
  int64_t failed = 0;
  // Keys, values and framing of records, as sent or as they arrived: compressed where they are.
  int64_t bytes = 0;
  double seconds = 0;
  LatencyHistogram latency;
};

// The numbers as an object's members: records, failed, bytes, seconds, records_per_second, mib_per_second,
// latency_ms.
Json as_json(const BenchmarkResult& result);
// The same for people. `latency_of` names what was measured, e.g. "Batch to acknowledgement".
std::string as_table(const BenchmarkResult& result, const std::string& latency_of, bool colour);

}  // namespace millrace::tools
