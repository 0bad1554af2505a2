#include "tools/benchmark.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "tools/quantity.h"
#include "tools/table.h"

namespace millrace::tools {
namespace {

struct Percentile {
  const char* name;
  double part;
};
constexpr std::array<Percentile, 4> kPercentiles = {
    {{"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}, {"p99.9", 0.999}}};
constexpr double kMib = 1024 * 1024;

double per_second(double amount, double seconds) { return seconds > 0 ? amount / seconds : 0; }
double as_ms(double us) { return std::round(us) / 1000; }

}  // namespace

Json as_json(const BenchmarkResult& result) {
  Json json = Json::object();
  json.set("records", result.records).set("failed", result.failed).set("bytes", result.bytes);
  json.set("seconds", std::round(result.seconds * 1000) / 1000);
  json.set("records_per_second", std::round(per_second(static_cast<double>(result.records), result.seconds)));
  json.set("mib_per_second",
           std::round(per_second(static_cast<double>(result.bytes) / kMib, result.seconds) * 100) / 100);
  Json latency = Json::object();
  latency.set("mean", as_ms(result.latency.mean_us()));
  for (const Percentile& percentile : kPercentiles) {
    latency.set(percentile.name, as_ms(static_cast<double>(result.latency.percentile_us(percentile.part))));
  }
  latency.set("max", as_ms(static_cast<double>(result.latency.max_us())));
  return std::move(json.set("latency_ms", std::move(latency)));
}

std::string as_table(const BenchmarkResult& result, const std::string& latency_of, bool colour) {
  Table totals({">RECORDS", ">FAILED", ">BYTES", ">SECONDS", ">RECORDS/S", ">MIB/S"});
  totals.add({format_count(result.records), format_count(result.failed),
              format_size(static_cast<double>(result.bytes)), fmt::format("{:.2f}", result.seconds),
              format_count(std::llround(per_second(static_cast<double>(result.records), result.seconds))),
              fmt::format("{:.1f}", per_second(static_cast<double>(result.bytes) / kMib, result.seconds))});
  std::vector<std::string> head = {">MEAN"};
  std::vector<std::string> cells = {fmt::format("{:.2f} ms", result.latency.mean_us() / 1000)};
  for (const Percentile& percentile : kPercentiles) {
    head.push_back(std::string(">") + percentile.name);
    cells.push_back(
        fmt::format("{:.2f} ms", static_cast<double>(result.latency.percentile_us(percentile.part)) / 1000));
  }
  head.emplace_back(">MAX");
  cells.push_back(fmt::format("{:.2f} ms", static_cast<double>(result.latency.max_us()) / 1000));
  Table latency(head);
  latency.add(cells);
  return totals.render(colour) + "\n" + latency_of + ":\n" + latency.render(colour);
}

}  // namespace millrace::tools
