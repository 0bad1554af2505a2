// Random operations on a log and on the simplest thing that could be one: a vector of batches.
#include <catch2/catch.hpp>
#include <deque>
#include <random>

#include "tests/storage/log_fixture.h"

namespace millrace::storage {
namespace {

using test::kNow;
using test::LogFixture;

struct ModelBatch {
  int64_t base_offset;
  int64_t last_offset;
  std::vector<int64_t> timestamps;
  Buffer bytes;
};

class ModelTest : LogFixture {
 public:
  ModelTest(uint32_t seed, bool with_gaps) : random_(seed), with_gaps_(with_gaps) {
    options.config.segment_bytes = 1500;
    options.config.index_interval_bytes = 150;
    options.config.retention_ms = -1;
    options.config.compact = with_gaps;
    open();
  }

  void step() {
    ++steps_;
    switch (below(20)) {
      case 0:
        roll();
        break;
      case 1:
        retain();
        break;
      case 2:
        delete_records();
        break;
      case 3:
        truncate();
        break;
      case 4:
        flush();
        break;
      case 5:
        reopen();
        break;
      case 6:
        follow();
        break;
      default:
        lead();
        break;
    }
    CHECK(log->log_start_offset() == start_);
    CHECK(log->log_end_offset() == end_);
    read_something();
    find_something();
  }

  void check_all() {
    size_t next = 0;
    for (const int64_t base : base_offsets()) {
      while (next < batches_.size() && batches_[next].last_offset < start_) ++next;
      REQUIRE(next < batches_.size());
      REQUIRE(batches_[next++].base_offset == base);
    }
    while (next < batches_.size() && batches_[next].last_offset < start_) ++next;
    REQUIRE(next == batches_.size());
  }

  const std::map<std::string, int>& counts() const { return counts_; }

 private:
  int64_t below(int64_t limit) { return std::uniform_int_distribution<int64_t>(0, limit - 1)(random_); }

  std::pair<std::vector<int64_t>, Buffer> random_batch(int64_t base_offset) {
    std::vector<int64_t> timestamps;
    for (int64_t i = 1 + below(4); i > 0; --i) timestamps.push_back(kNow + steps_ * 10 + below(100) - 50);
    protocol::BatchOptions batch;
    batch.base_offset = base_offset;
    batch.partition_leader_epoch = epoch_;
    batch.compression = static_cast<protocol::Compression>(below(8) == 0 ? below(5) : 0);
    protocol::BatchBuilder builder(batch);
    const std::string value(static_cast<size_t>(below(200)), 'v');
    for (const int64_t timestamp : timestamps) builder.append(as_bytes("k"), as_bytes(value), {}, timestamp);
    auto built = builder.build();
    REQUIRE(built);
    return {timestamps, std::move(*built)};
  }

  void push(const std::vector<int64_t>& timestamps, Buffer bytes, int64_t base_offset) {
    const int64_t last = base_offset + static_cast<int64_t>(timestamps.size()) - 1;
    batches_.push_back({base_offset, last, timestamps, std::move(bytes)});
    end_ = last + 1;
  }

  void lead() {
    auto [timestamps, bytes] = random_batch(0);
    const AppendInfo info = append(bytes, epoch_);
    CHECK(info.base_offset == end_);
    protocol::set_base_offset(bytes, end_);
    protocol::set_partition_leader_epoch(bytes, epoch_);
    push(timestamps, bytes, end_);
    ++counts_["lead"];
  }

  void follow() {
    if (below(3) == 0) ++epoch_;
    Buffer all;
    for (int64_t i = 1 + below(5); i > 0; --i) {
      const int64_t base = end_ + (with_gaps_ ? below(3) : 0);
      auto [timestamps, bytes] = random_batch(base);
      all.insert(all.end(), bytes.begin(), bytes.end());
      push(timestamps, std::move(bytes), base);
    }
    const auto appended = log->append_as_follower(all, kNow);
    REQUIRE(appended);
    CHECK(appended->last_offset == end_ - 1);
    ++counts_["follow"];
  }

  void roll() {
    REQUIRE(log->roll(kNow));
    ++counts_["roll"];
  }

  // Which segments go is retention_test's; here what goes must be whole batches from the front, and no more.
  void retain() {
    options.config.retention_bytes = 500 + below(8000);
    log->set_config(options.config);
    const int64_t high_watermark = below(3) == 0 ? start_ + below(end_ - start_ + 1) : end_;
    const auto report = test::retain(*log, files, kNow, high_watermark);
    REQUIRE(report);
    CHECK(log->log_start_offset() <= std::max(high_watermark, start_));
    CHECK(log->log_start_offset() >= start_);
    if (log->log_start_offset() > start_) ++counts_["retain"];
    start_ = log->log_start_offset();
    const int64_t base = *Segment::base_offset_of(oldest_segment());
    while (!batches_.empty() && batches_.front().base_offset < base) batches_.pop_front();
  }

  std::string oldest_segment() {
    const auto entries = files.list(options.directory);
    REQUIRE(entries);
    for (const DirectoryEntry& entry : *entries) {
      if (Segment::base_offset_of(entry.name)) return entry.name;
    }
    return {};
  }

  void delete_records() {
    const int64_t before = start_ + below(end_ - start_ + 1) / 3;
    CHECK(*log->delete_records(before) == before);
    start_ = before;
    CHECK(log->delete_records(end_ + 1).error().code == ErrorCode::kOffsetOutOfRange);
    ++counts_["delete"];
  }

  void truncate() {
    if (below(20) == 0) {
      start_ = end_ = end_ + below(100);
      batches_.clear();
      REQUIRE(log->truncate_fully_and_start_at(start_, kNow));
      ++counts_["restart"];
      return;
    }
    if (below(4) != 0 || start_ == end_) return;
    const int64_t to = std::max(start_, end_ - below(40));
    REQUIRE(log->truncate_to(to, kNow));
    int64_t end = std::min(to, end_);
    while (!batches_.empty() && batches_.back().last_offset >= to) {
      end = std::min(end, batches_.back().base_offset);
      batches_.pop_back();
    }
    // With holes, the end is where the last batch left it; both are offsets without a record.
    end_ = log->log_end_offset();
    CHECK(end_ <= std::max(end, start_));
    if (!batches_.empty()) CHECK(end_ > batches_.back().last_offset);
    CHECK(end_ >= start_);
    // Down to the batch that held the start: the log begins anew there, without it.
    if (end < start_) batches_.clear();
    ++counts_["truncate"];
  }

  void flush() {
    REQUIRE(log->flush());
    CHECK(log->recovery_point() == end_);
    ++counts_["flush"];
  }

  void reopen() {
    const int64_t how = below(with_gaps_ ? 4 : 5);
    if (how == 0) {
      close_and_open();
      CHECK(report.segments_scanned == 0);
      ++counts_["close"];
    } else if (how == 1) {
      kill_and_open();
      ++counts_["kill"];
    } else if (how == 2) {
      index = nullptr;
      log.reset();
      index = std::move(*OffsetIndex::open_in_memory());
      open(below(2) == 0);
      CHECK(report.segments_covered == 0);
      ++counts_["index lost"];
    } else if (how == 3) {
      damage_index();
      ++counts_["index damaged"];
    } else {
      crash_and_open();
      ++counts_["crash"];
    }
    if (how != 4) CHECK(report.cuts.empty());
    check_all();
  }

  // Entries that point to somewhere else must not mislead any search.
  void damage_index() {
    const auto summaries = index->summaries(options.id);
    REQUIRE(summaries);
    for (const SegmentSummary& summary : *summaries) {
      const SegmentKey key{options.id, summary.base_offset};
      auto entries = *index->entries(key);
      for (IndexEntry& entry : entries) entry.position += below(3) - 1;
      if (!entries.empty()) REQUIRE(index->add_block(key, entries));
    }
    REQUIRE(log->close(kNow));
    open(true);
  }

  // The machine stops: what is left is a prefix that has all that was synced.
  void crash_and_open() {
    const int64_t synced = log->recovery_point();
    log.reset();
    files.crash(
        [&](size_t unsynced) { return static_cast<size_t>(below(static_cast<int64_t>(unsynced) + 1)); });
    open(false);
    const int64_t end = log->log_end_offset();
    CHECK(end >= synced);
    CHECK(end <= end_);
    // Records deleted, durably, that weren't synced and are lost anyway: the log begins anew at its start.
    if (!report.notes.empty() && report.notes.back().ends_with("begun anew there")) {
      CHECK(end == start_);
      batches_.clear();
      ++counts_["begun anew"];
    }
    while (!batches_.empty() && batches_.back().last_offset >= end) {
      CHECK(batches_.back().base_offset >= end);
      batches_.pop_back();
    }
    end_ = end;
    CHECK(log->log_start_offset() == start_);
  }

  void read_something() {
    const int64_t offset = start_ + below(end_ - start_ + 1);
    const int64_t end = below(2) == 0 ? end_ : start_ + below(end_ - start_ + 1);
    const size_t max_bytes = static_cast<size_t>(below(3000));
    const auto slice = log->read(offset, end, max_bytes, true);
    REQUIRE(slice);
    const Buffer bytes = bytes_of(*slice);
    Buffer expected;
    int64_t first = -1;
    for (const ModelBatch& batch : batches_) {
      if (batch.last_offset < offset || batch.last_offset >= end || offset >= end) continue;
      if (first < 0) first = batch.base_offset;
      if (expected.size() > bytes.size()) break;
      expected.insert(expected.end(), batch.bytes.begin(), batch.bytes.end());
    }
    CHECK((bytes.empty() ? -1 : protocol::read_batch_header(bytes)->base_offset) == first);
    CHECK((first >= 0) == !bytes.empty());
    REQUIRE(bytes.size() <= expected.size());
    CHECK(std::equal(bytes.begin(), bytes.end(), expected.begin()));
  }

  void find_something() {
    const int64_t timestamp = kNow + below(steps_ * 10 + 200) - 100;
    std::optional<TimestampOffset> expected;
    int64_t largest = -1;
    for (const ModelBatch& batch : batches_) {
      for (size_t i = 0; i < batch.timestamps.size(); ++i) {
        const int64_t offset = batch.base_offset + static_cast<int64_t>(i);
        largest = std::max(largest, batch.timestamps[i]);
        if (expected || offset < start_ || batch.timestamps[i] < timestamp) continue;
        expected = TimestampOffset{batch.timestamps[i], offset,
                                   protocol::read_batch_header(batch.bytes)->partition_leader_epoch};
      }
    }
    const auto found = log->offset_for_timestamp(timestamp);
    REQUIRE(found);
    CHECK(*found == expected);
    const auto maximum = log->max_timestamp();
    REQUIRE(maximum);
    CHECK((*maximum ? (*maximum)->timestamp_ms : -1) == largest);
  }

  std::mt19937 random_;
  const bool with_gaps_;
  int64_t steps_ = 0;
  int32_t epoch_ = 0;
  int64_t start_ = 0;
  int64_t end_ = 0;
  std::deque<ModelBatch> batches_;
  std::map<std::string, int> counts_;
};

TEST_CASE("A log does what a vector of batches does, whatever happens to it") {
  const bool with_gaps = GENERATE(false, true);
  const uint32_t seed = GENERATE(range(1u, 9u));
  INFO("seed " << seed << (with_gaps ? " with holes" : ""));
  ModelTest test(seed, with_gaps);
  for (int i = 0; i < 600; ++i) {
    INFO("step " << i);
    test.step();
  }
  test.check_all();
  for (const char* what : {"lead", "follow", "roll", "retain", "delete", "truncate", "flush", "close", "kill",
                           "index lost", "index damaged"}) {
    INFO(what);
    CHECK(test.counts().contains(what));
  }
  CHECK(test.counts().contains("crash") == !with_gaps);
}

}  // namespace
}  // namespace millrace::storage
