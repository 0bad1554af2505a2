// What samples of a group's lag say: totals, ages, rates, and when it will have caught up; as a table and as
// JSON.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "tools/client/group_lag.h"
#include "tools/json.h"

namespace millrace::tools {

// How soon a lag will be gone.
struct CatchUp {
  // In order: what is later comes last.
  enum class Kind {
    // In `seconds`; 0 when there is no lag.
    kIn,
    // Rates aren't known, or there is no commit.
    kUnknown,
    // Nobody reads, or more comes in than is read.
    kNever,
  };
  Kind kind = Kind::kUnknown;
  double seconds = 0;

  // The later of the two; never is the latest, and what isn't known may be.
  static CatchUp later(const CatchUp& a, const CatchUp& b);
};

struct PartitionReport {
  PartitionLag lag;
  // Age of the oldest unread record; 0 when there is none.
  std::optional<double> lag_seconds;
  // Records per second that were appended, and that the group went on by.
  std::optional<double> in_rate;
  std::optional<double> out_rate;
  CatchUp catch_up;
};

struct LagReport {
  std::vector<PartitionReport> partitions;
  // Those that hold records, but no commit of the group says where it is: what the rest says is of the
  // others, and a zero that may be more is nothing.
  int64_t uncommitted_partitions = 0;
  // The sum; nothing when no partition has any.
  std::optional<int64_t> lag;
  // The largest that is known; nothing when none is of those that are behind.
  std::optional<double> lag_seconds;
  // Sums; nothing until all partitions with a commit have a rate.
  std::optional<double> in_rate;
  std::optional<double> out_rate;
  // The latest.
  std::optional<CatchUp> catch_up;
};

// The samples of the last while.
class LagHistory {
 public:
  // Rates are taken over at most this time.
  static constexpr int64_t kWindowUs = 30'000'000;

  void add(LagSample sample);
  // Needs one sample; rates need two.
  LagReport report() const;
  size_t size() const { return samples_.size(); }

 private:
  // The partition in the oldest sample that the last one can be compared with: since then it had a commit all
  // along, and nobody moved it, or the log, back. Null if there is none.
  const PartitionLag* baseline(const PartitionLag& last, int64_t& at_us) const;

  std::deque<LagSample> samples_;
};

// Columns for rates only if `rates`.
std::string lag_table(const LagReport& report, bool rates, bool colour);
// One line: "lag 1,204 records, 3.2s; in 120/s, out 180/s, caught up in 20s".
std::string lag_summary(const LagReport& report);
Json lag_json(const LagReport& report);

}  // namespace millrace::tools
