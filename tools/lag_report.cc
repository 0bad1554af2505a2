#include "tools/lag_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/console.h"
#include "tools/quantity.h"
#include "tools/table.h"
#include "tools/timestamp.h"

namespace millrace::tools {
namespace {

const PartitionLag* find(const LagSample& sample, const TopicPartition& place) {
  const auto found =
      std::lower_bound(sample.partitions.begin(), sample.partitions.end(), place,
                       [](const PartitionLag& lag, const TopicPartition& key) { return lag.place < key; });
  return found == sample.partitions.end() || found->place != place ? nullptr : &*found;
}

// Offsets only go back when somebody moves them.
bool goes_on(const std::optional<int64_t>& before, const std::optional<int64_t>& now) {
  return !now || (before && *before <= *now);
}

std::optional<double> rate(const std::optional<int64_t>& before, const std::optional<int64_t>& now,
                           double seconds) {
  if (!before || !now || seconds <= 0) return std::nullopt;
  return static_cast<double>(*now - *before) / seconds;
}

CatchUp catch_up(const std::optional<int64_t>& lag, const std::optional<double>& in,
                 const std::optional<double>& out) {
  if (!lag) return {};
  if (*lag == 0) return {CatchUp::Kind::kIn, 0};
  if (!in || !out) return {};
  if (*out <= *in) return {CatchUp::Kind::kNever, 0};
  return {CatchUp::Kind::kIn, static_cast<double>(*lag) / (*out - *in)};
}

std::string number_text(const std::optional<int64_t>& number) {
  return number ? std::to_string(*number) : "-";
}

std::string seconds_text(const std::optional<double>& seconds) {
  if (!seconds) return "-";
  return *seconds == 0 ? "0s" : format_duration(static_cast<int64_t>(*seconds * 1000));
}

std::string rate_text(const std::optional<double>& rate) {
  if (!rate) return "-";
  return *rate < 10 && *rate > 0 ? fmt::format("{:.1f}", *rate) : format_count(std::llround(*rate));
}

std::string catch_up_text(const CatchUp& catch_up) {
  if (catch_up.kind == CatchUp::Kind::kUnknown) return "-";
  if (catch_up.kind == CatchUp::Kind::kNever) return "never";
  return seconds_text(catch_up.seconds);
}

Json rounded(const std::optional<double>& value) {
  return value ? Json(std::round(*value * 1000) / 1000) : Json();
}

void set_rates(Json& json, const std::optional<double>& in, const std::optional<double>& out,
               const std::optional<CatchUp>& known) {
  const CatchUp catch_up = known.value_or(CatchUp{});
  json.set("in_rate", rounded(in)).set("out_rate", rounded(out));
  json.set("catch_up_seconds",
           catch_up.kind == CatchUp::Kind::kIn ? rounded(std::optional(catch_up.seconds)) : Json());
  // Null alone could be both.
  json.set("catches_up",
           catch_up.kind == CatchUp::Kind::kUnknown ? Json() : Json(catch_up.kind == CatchUp::Kind::kIn));
}

}  // namespace

CatchUp CatchUp::later(const CatchUp& a, const CatchUp& b) {
  if (a.kind != b.kind) return a.kind > b.kind ? a : b;
  return a.seconds >= b.seconds ? a : b;
}

void LagHistory::add(LagSample sample) {
  samples_.push_back(std::move(sample));
  // The oldest that stays is the first within the window, but there are always two.
  while (samples_.size() > 2 && samples_[1].at_us <= samples_.back().at_us - kWindowUs) samples_.pop_front();
}

const PartitionLag* LagHistory::baseline(const PartitionLag& last, int64_t& at_us) const {
  const PartitionLag* found = &last;
  for (auto sample = std::next(samples_.rbegin()); sample != samples_.rend(); ++sample) {
    const PartitionLag* before = find(*sample, last.place);
    if (before == nullptr || !goes_on(before->end, found->end) ||
        !goes_on(before->committed, found->committed))
      break;
    found = before;
    at_us = sample->at_us;
  }
  return found == &last ? nullptr : found;
}

LagReport LagHistory::report() const {
  const LagSample& last = samples_.back();
  LagReport report;
  double in = 0;
  double out = 0;
  bool has_all_rates = true;
  for (const PartitionLag& lag : last.partitions) {
    PartitionReport& partition = report.partitions.emplace_back();
    partition.lag = lag;
    const std::optional<int64_t> records = lag.records();
    if (records == 0) partition.lag_seconds = 0;
    if (lag.oldest_unread_ms) {
      // Clocks of producers may be ahead of ours; 0 would say that there is nothing to read.
      partition.lag_seconds =
          static_cast<double>(std::max<int64_t>(1, last.at_ms - *lag.oldest_unread_ms)) / 1000;
    }
    int64_t since_us = last.at_us;
    if (const PartitionLag* before = baseline(lag, since_us)) {
      const double seconds = static_cast<double>(last.at_us - since_us) / 1e6;
      partition.in_rate = rate(before->end, lag.end, seconds);
      partition.out_rate = rate(before->committed, lag.committed, seconds);
    }
    partition.catch_up = catch_up(records, partition.in_rate, partition.out_rate);
    if (partition.lag_seconds)
      report.lag_seconds = std::max(report.lag_seconds.value_or(0), *partition.lag_seconds);
    report.uncommitted_partitions += lag.is_uncommitted() ? 1 : 0;
    if (records || lag.is_uncommitted()) {
      report.catch_up =
          report.catch_up ? CatchUp::later(*report.catch_up, partition.catch_up) : partition.catch_up;
    }
    if (!records) continue;
    report.lag = report.lag.value_or(0) + *records;
    // A sum of some would look like a group that has become slow.
    has_all_rates = has_all_rates && partition.in_rate && partition.out_rate;
    in += partition.in_rate.value_or(0);
    out += partition.out_rate.value_or(0);
  }
  if (report.lag && has_all_rates) {
    report.in_rate = in;
    report.out_rate = out;
  }
  const bool may_be_more = report.uncommitted_partitions > 0 || report.lag.value_or(0) > 0;
  if (report.lag_seconds == 0.0 && may_be_more) report.lag_seconds.reset();
  if (report.lag == 0 && may_be_more) report.lag.reset();
  return report;
}

std::string lag_table(const LagReport& report, bool rates, bool colour) {
  std::vector<std::string> columns = {"TOPIC", ">PARTITION", ">COMMITTED", ">END", ">LAG", ">BEHIND"};
  if (rates) columns.insert(columns.end(), {">IN/S", ">OUT/S", ">CAUGHT UP IN"});
  columns.insert(columns.end(), {"CLIENT", "HOST"});
  Table table(columns);
  for (const PartitionReport& partition : report.partitions) {
    const PartitionLag& lag = partition.lag;
    const std::optional<int64_t> records = lag.records();
    std::vector<std::string> cells = {
        lag.place.topic,      std::to_string(lag.place.partition),    number_text(lag.committed),
        number_text(lag.end), records ? format_count(*records) : "-", seconds_text(partition.lag_seconds)};
    if (rates) {
      cells.insert(cells.end(), {rate_text(partition.in_rate), rate_text(partition.out_rate),
                                 catch_up_text(partition.catch_up)});
    }
    cells.insert(cells.end(),
                 {lag.member_id.empty() ? "-" : lag.client_id, lag.member_id.empty() ? "-" : lag.host});
    table.add(std::move(cells));
  }
  return table.render(colour);
}

std::string lag_summary(const LagReport& report) {
  const auto has_commit = [](const PartitionReport& partition) {
    return partition.lag.records().has_value();
  };
  if (std::ranges::none_of(report.partitions, has_commit)) return "nothing committed yet";
  const int64_t uncommitted = report.uncommitted_partitions;
  const int64_t lag = report.lag.value_or(0);
  std::string text = fmt::format("lag {}{} record{}", uncommitted > 0 ? "at least " : "", format_count(lag),
                                 lag == 1 ? "" : "s");
  if (report.lag_seconds.value_or(0) > 0) text += fmt::format(", {}", seconds_text(report.lag_seconds));
  if (uncommitted > 0) {
    text += fmt::format("; {} partition{} with records but no commit", format_count(uncommitted),
                        uncommitted == 1 ? "" : "s");
  }
  if (report.in_rate || report.out_rate) {
    text += fmt::format("; in {}/s, out {}/s", rate_text(report.in_rate), rate_text(report.out_rate));
    const CatchUp catch_up = report.catch_up.value_or(CatchUp{});
    if (lag > 0 && catch_up.kind == CatchUp::Kind::kIn)
      text += fmt::format(", caught up in {}", seconds_text(catch_up.seconds));
    if (catch_up.kind == CatchUp::Kind::kNever) text += ", not catching up";
  }
  return text;
}

Json lag_json(const LagReport& report) {
  Json json = Json::object();
  json.set("lag", report.lag).set("uncommitted_partitions", report.uncommitted_partitions);
  json.set("lag_seconds", rounded(report.lag_seconds));
  set_rates(json, report.in_rate, report.out_rate, report.catch_up);
  Json partitions = Json::list();
  for (const PartitionReport& partition : report.partitions) {
    const PartitionLag& lag = partition.lag;
    Json item = Json::object();
    item.set("topic", lag.place.topic).set("partition", int64_t{lag.place.partition});
    item.set("committed_offset", lag.committed).set("start_offset", lag.start).set("end_offset", lag.end);
    item.set("lag", lag.records()).set("lag_seconds", rounded(partition.lag_seconds));
    item.set("oldest_unread", lag.oldest_unread_ms ? Json(format_timestamp(*lag.oldest_unread_ms)) : Json());
    set_rates(item, partition.in_rate, partition.out_rate, partition.catch_up);
    const bool read = !lag.member_id.empty();
    item.set("member_id", read ? Json::name(lag.member_id) : Json())
        .set("client_id", read ? Json::name(lag.client_id) : Json())
        .set("host", read ? Json(lag.host) : Json());
    partitions.push(std::move(item));
  }
  return std::move(json.set("partitions", std::move(partitions)));
}

}  // namespace millrace::tools
