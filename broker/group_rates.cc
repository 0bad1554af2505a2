#include "broker/group_rates.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace millrace::broker {
namespace {

constexpr double kCatchUpSeconds = 60;

}  // namespace

const Mark* GroupHistory::find(const Look& look, const TopicIdPartition& place) {
  const auto found = std::ranges::lower_bound(look.marks, place, {}, &Mark::place);
  return found == look.marks.end() || found->place != place ? nullptr : &*found;
}

void GroupHistory::add(int64_t now_ms, std::vector<Mark> marks) {
  for (Mark& mark : marks) mark.at_ms = now_ms;
  last_ = {now_ms, std::move(marks)};
  if (!begun_) older_ = newer_ = last_;
  begun_ = true;
  if (now_ms - newer_.at_ms >= kWindowMs) older_ = std::exchange(newer_, last_);
  begin_anew(older_);
  begin_anew(newer_);
}

void GroupHistory::begin_anew(Look& look) const {
  std::vector<Mark> fresh;
  for (const Mark& mark : last_.marks) {
    const auto before = std::ranges::lower_bound(look.marks, mark.place, {}, &Mark::place);
    if (before == look.marks.end() || before->place != mark.place) {
      fresh.push_back(mark);
    } else if (before->committed > mark.committed || before->end > mark.end) {
      *before = mark;
    }
  }
  if (fresh.empty()) return;
  look.marks.insert(look.marks.end(), fresh.begin(), fresh.end());
  std::ranges::sort(look.marks, {}, &Mark::place);
}

std::optional<Rates> GroupHistory::rates(const TopicIdPartition& place) const {
  const Mark* const before = find(older_, place);
  const Mark* const now = find(last_, place);
  if (before == nullptr || now == nullptr || now->at_ms - before->at_ms < kLeastMs) return std::nullopt;
  const double seconds = static_cast<double>(now->at_ms - before->at_ms) / 1000;
  return Rates{static_cast<double>(now->end - before->end) / seconds,
               static_cast<double>(now->committed - before->committed) / seconds};
}

int64_t useful_members(const Demand& demand) {
  const int64_t room = std::max<int64_t>(0, demand.partitions - demand.members);
  const int64_t most = std::min(room, demand.lagging_partitions);
  if (demand.lag <= 0 || most <= 0) return 0;
  if (demand.members == 0) return most;
  if (!demand.rates) return 0;
  if (demand.rates->out <= 0) return most;
  const double by_one = demand.rates->out / static_cast<double>(demand.members);
  const double wanted = demand.rates->in + static_cast<double>(demand.lag) / kCatchUpSeconds;
  const double more = std::ceil(wanted / by_one - static_cast<double>(demand.members) - 1e-9);
  return static_cast<int64_t>(std::clamp(more, 0.0, static_cast<double>(most)));
}

}  // namespace millrace::broker
