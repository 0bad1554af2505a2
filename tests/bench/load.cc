#include "tests/bench/load.h"

#include <algorithm>

#include "tests/bench/socket.h"

namespace millrace::bench {
namespace {

constexpr int64_t kLatest_ns = 30'000'000'000;
// The pause between looks, once it's late.
constexpr int64_t kPause_ns = 1'000'000;

}  // namespace

LoadClock::LoadClock(const LoadOptions& options, LoadResult& result)
    : options_(options), result_(result), cpu_(options.server_pid) {
  next_ns_ = now_ns() + options.warmup_ms * 1'000'000;
  if (options.warmup_ms == 0) begin(now_ns());
}

void LoadClock::begin(int64_t now_ns) {
  state_ = State::kMeasuring;
  begun_ns_ = now_ns;
  next_ns_ = now_ns + options_.measure_ms * 1'000'000;
  cpu_.lap();
}

void LoadClock::end(int64_t now_ns) {
  state_ = State::kDone;
  ended_ns_ = now_ns;
  result_.cpu = cpu_.lap();
  result_.seconds = static_cast<double>(now_ns - begun_ns_) / 1e9;
}

bool LoadClock::running(int64_t now_ns) {
  const bool enough = result_.bytes >= options_.max_bytes;
  if (state_ == State::kWarmingUp && now_ns >= next_ns_) {
    begin(now_ns);
  } else if (state_ == State::kMeasuring && (enough || now_ns >= next_ns_)) {
    // One answer at least, however long it takes: of nothing there is no ratio.
    if (result_.requests > 0 || now_ns >= next_ns_ + kLatest_ns) end(now_ns);
  }
  return state_ != State::kDone;
}

void LoadClock::count(int64_t records, int64_t bytes) {
  result_.all_records += records;
  if (state_ != State::kMeasuring) return;
  result_.records += records;
  result_.bytes += bytes;
  ++result_.requests;
}

int64_t LoadClock::next_change_ns() const { return std::max(next_ns_, now_ns() + kPause_ns); }

}  // namespace millrace::bench
