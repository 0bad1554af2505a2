#include "broker/runtime/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <iterator>
#include <utility>

#include "broker/runtime/logging.h"
#include "broker/runtime/shard.h"
#include "protocol/utf8.h"

namespace millrace::runtime {
namespace {

constexpr size_t kPartBytes = 64 * 1024;

// Control characters, of both blocks, would move the cursor of whoever looks, and some readers refuse them:
// "\xNN", as for bytes that aren't UTF-8.
void append_escaped(std::string& out, std::string_view text, bool quote) {
  const auto append_hex = [&](char c) { out += fmt::format("\\\\x{:02x}", static_cast<unsigned char>(c)); };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quote) {
      out += "\\\"";
    } else if (byte < 0x20 || byte == 0x7f) {
      append_hex(c);
    } else if (byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      append_hex(c);
      append_hex(text[++i]);
    } else {
      out += c;
    }
  }
}

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

void append_line(std::string& out, std::string_view name, std::string_view suffix, const Labels& labels,
                 std::string_view bound, std::string_view value) {
  out += name;
  out += suffix;
  if (!labels.empty() || !bound.empty()) {
    char separator = '{';
    for (const auto& [key, text] : labels) {
      out += separator;
      out += key;
      out += "=\"";
      append_escaped(out, protocol::printable(text), true);
      out += '"';
      separator = ',';
    }
    if (!bound.empty()) {
      out += separator;
      out += "le=\"";
      out += bound;
      out += '"';
    }
    out += '}';
  }
  out += ' ';
  out += value;
  out += '\n';
}

}  // namespace

size_t ShardedSum::cell_index() {
  const Shard* const shard = Shard::current();
  return shard == nullptr ? 0 : (shard->id() + 1) % kCells;
}

uint64_t ShardedSum::value() const {
  uint64_t sum = 0;
  for (const Cell& cell : cells_) sum += cell.value.load(std::memory_order_relaxed);
  return sum;
}

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)), counts_(std::make_unique<ShardedSum[]>(bounds_.size() + 1)) {}

void Histogram::observe(double value) {
  const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[static_cast<size_t>(bucket)].add(1);
  sum_millionths_.add(static_cast<uint64_t>(std::max(value, 0.0) * 1e6));
}

const std::vector<double>& Histogram::latency_bounds() {
  static const std::vector<double> bounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                          0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
  return bounds;
}

MetricsWriter::Family& MetricsWriter::family(std::string_view name) {
  const auto found = families_.find(name);
  return found != families_.end() ? found->second : families_[std::string(name)];
}

void MetricsWriter::describe(std::string_view name, std::string_view type, std::string_view help) {
  Family& described = family(name);
  if (!described.help.empty()) return;
  described.type = type;
  described.help = help;
}

void MetricsWriter::sample(std::string_view name, const Labels& labels, double value) {
  append_line(lines(name), name, "", labels, "", number(value));
}

void MetricsWriter::sample(std::string_view name, const Labels& labels, int64_t value) {
  append_line(lines(name), name, "", labels, "", fmt::to_string(value));
}

void MetricsWriter::histogram(std::string_view name, const Labels& labels, const Histogram& histogram) {
  std::string& lines = this->lines(name);
  uint64_t cumulative = 0;
  for (size_t i = 0; i < histogram.bounds().size(); ++i) {
    cumulative += histogram.count(i);
    append_line(lines, name, "_bucket", labels, number(histogram.bounds()[i]), fmt::to_string(cumulative));
  }
  cumulative += histogram.count(histogram.bounds().size());
  append_line(lines, name, "_bucket", labels, "+Inf", fmt::to_string(cumulative));
  append_line(lines, name, "_sum", labels, "", number(histogram.sum()));
  append_line(lines, name, "_count", labels, "", fmt::to_string(cumulative));
}

std::string& MetricsWriter::lines(std::string_view name) {
  std::vector<std::string>& parts = family(name).parts;
  if (parts.empty() || parts.back().size() >= kPartBytes) parts.emplace_back();
  return parts.back();
}

std::vector<std::string> MetricsWriter::take_parts() {
  std::vector<std::string> out;
  for (auto& [name, described] : families_) {
    if (described.parts.empty()) continue;
    std::string& head = out.emplace_back("# HELP " + name + ' ');
    append_escaped(head, described.help, false);
    head += "\n# TYPE " + name + ' ' + described.type + '\n';
    std::ranges::move(described.parts, std::back_inserter(out));
  }
  families_.clear();
  return out;
}

MetricsRegistry::Series& MetricsRegistry::series(const std::string& name, const std::string& type,
                                                 const std::string& help, const Labels& labels) {
  Family& family = families_[name];
  if (family.type.empty()) {
    family.type = type;
    family.help = help;
  }
  assert(family.type == type);
  Series& found = family.series[labels];
  found.labels = labels;
  return found;
}

Counter& MetricsRegistry::counter(const std::string& name, const std::string& help, const Labels& labels) {
  const std::lock_guard lock(mutex_);
  Series& found = series(name, "counter", help, labels);
  if (found.counter == nullptr) found.counter = std::make_unique<Counter>();
  return *found.counter;
}

Gauge& MetricsRegistry::gauge(const std::string& name, const std::string& help, const Labels& labels) {
  const std::lock_guard lock(mutex_);
  Series& found = series(name, "gauge", help, labels);
  if (found.gauge == nullptr) found.gauge = std::make_unique<Gauge>();
  return *found.gauge;
}

Histogram& MetricsRegistry::histogram(const std::string& name, const std::string& help,
                                      const std::vector<double>& bounds, const Labels& labels) {
  const std::lock_guard lock(mutex_);
  Series& found = series(name, "histogram", help, labels);
  if (found.histogram == nullptr) found.histogram = std::make_unique<Histogram>(bounds);
  return *found.histogram;
}

void MetricsRegistry::add_collector(Collector collector) {
  const std::lock_guard lock(mutex_);
  collectors_.push_back(std::make_shared<const Collector>(std::move(collector)));
}

void MetricsRegistry::write_kept(MetricsWriter& writer) const {
  for (const auto& [name, family] : families_) {
    writer.describe(name, family.type, family.help);
    for (const auto& [labels, one] : family.series) {
      if (one.counter) writer.sample(name, labels, static_cast<int64_t>(one.counter->value()));
      if (one.gauge) writer.sample(name, labels, one.gauge->value());
      if (one.histogram) writer.histogram(name, labels, *one.histogram);
    }
  }
}

Task<std::string> MetricsRegistry::scrape() const {
  MetricsWriter writer;
  std::vector<std::shared_ptr<const Collector>> collectors;
  {
    const std::lock_guard lock(mutex_);
    write_kept(writer);
    collectors = collectors_;
  }
  for (const auto& collector : collectors) {
    try {
      co_await (*collector)(writer);
    } catch (const std::exception& error) {
      log_error("a metrics collector failed: {}", error.what());
    }
  }
  // Putting together, and touching for the first time, the megabytes that thousands of groups make takes long
  // enough for others to notice.
  std::vector<std::string> parts = writer.take_parts();
  size_t size = 0;
  for (const std::string& part : parts) size += part.size();
  std::string text;
  text.reserve(size);
  for (std::string& part : parts) {
    text += std::exchange(part, {});
    if (size >= kPartBytes) co_await Shard::current()->sleep_ms(0);
  }
  co_return text;
}

}  // namespace millrace::runtime
