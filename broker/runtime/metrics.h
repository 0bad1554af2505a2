// Numbers about the broker, in the Prometheus text format: counters, gauges and histograms that code keeps,
// and collectors that are asked at scrape time.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/runtime/task.h"

namespace millrace::runtime {

using Labels = std::vector<std::pair<std::string, std::string>>;

// A sum that many threads add to, each to a cache line of its own.
class ShardedSum {
 public:
  void add(uint64_t amount) { cells_[cell_index()].value.fetch_add(amount, std::memory_order_relaxed); }
  uint64_t value() const;

 private:
  static constexpr size_t kCells = 8;
  static size_t cell_index();
  struct alignas(64) Cell {
    std::atomic<uint64_t> value = 0;
  };
  std::array<Cell, kCells> cells_;
};

class Counter {
 public:
  void add(uint64_t amount = 1) { sum_.add(amount); }
  uint64_t value() const { return sum_.value(); }

 private:
  ShardedSum sum_;
};

class Gauge {
 public:
  void set(int64_t value) { value_.store(value, std::memory_order_relaxed); }
  void add(int64_t amount) { value_.fetch_add(amount, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_ = 0;
};

class Histogram {
 public:
  // Upper bounds, rising; the bucket of all others is implied.
  explicit Histogram(std::vector<double> bounds);
  void observe(double value);
  const std::vector<double>& bounds() const { return bounds_; }
  // Observations in bucket i (not cumulative), i up to bounds().size().
  uint64_t count(size_t bucket) const { return counts_[bucket].value(); }
  double sum() const { return static_cast<double>(sum_millionths_.value()) / 1e6; }

  // Seconds, from 0.1 ms to 10 s: for latencies.
  static const std::vector<double>& latency_bounds();

 private:
  const std::vector<double> bounds_;
  std::unique_ptr<ShardedSum[]> counts_;
  ShardedSum sum_millionths_;  // of the unit: observations are not negative
};

// Collects the samples of one scrape; puts those of one name together, whoever emitted them.
class MetricsWriter {
 public:
  // `type` is "counter", "gauge" or "histogram". The first description of a name counts.
  void describe(std::string_view name, std::string_view type, std::string_view help);
  void sample(std::string_view name, const Labels& labels, double value);
  void sample(std::string_view name, const Labels& labels, int64_t value);
  void histogram(std::string_view name, const Labels& labels, const Histogram& histogram);
  // Version 0.0.4 of the text format, in parts of some 64 KiB. Takes the samples out.
  std::vector<std::string> take_parts();
  static constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  struct Family {
    std::string type = "untyped";
    std::string help;
    std::vector<std::string> parts;  // of lines: no large text is moved about as it grows
  };
  Family& family(std::string_view name);
  std::string& lines(std::string_view name);
  std::map<std::string, Family, std::less<>> families_;
};

class MetricsRegistry {
 public:
  // Emits samples; runs on the shard that serves the scrape and may await calls to others.
  using Collector = std::function<Task<>(MetricsWriter&)>;

  MetricsRegistry() = default;
  MetricsRegistry(const MetricsRegistry&) = delete;

  // The metric of this name and these labels, made on first use; lives as long as the registry. Look it up
  // once and keep the reference. Thread safe. A name has one kind.
  Counter& counter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge& gauge(const std::string& name, const std::string& help, const Labels& labels = {});
  Histogram& histogram(const std::string& name, const std::string& help, const std::vector<double>& bounds,
                       const Labels& labels = {});
  void add_collector(Collector collector);

  // Everything there is, as text. On a shard, which others have in between.
  Task<std::string> scrape() const;

 private:
  struct Series {
    Labels labels;
    std::unique_ptr<Counter> counter;
    std::unique_ptr<Gauge> gauge;
    std::unique_ptr<Histogram> histogram;
  };
  struct Family {
    std::string type;
    std::string help;
    std::map<Labels, Series> series;
  };
  Series& series(const std::string& name, const std::string& type, const std::string& help,
                 const Labels& labels);
  void write_kept(MetricsWriter& writer) const;

  mutable std::mutex mutex_;
  std::map<std::string, Family> families_;
  std::vector<std::shared_ptr<const Collector>> collectors_;
};

}  // namespace millrace::runtime
