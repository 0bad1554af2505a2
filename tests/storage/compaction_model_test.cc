// Random operations on a compacted log, with compactions that are killed at any of their steps, against a
// simple model: all records that were ever appended, and what a compaction may take of them.
#include <catch2/catch.hpp>
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <stdexcept>

#include "protocol/batch_builder.h"
#include "tests/storage/compaction_driver.h"
#include "tests/storage/dying_file_system.h"
#include "tests/storage/log_fixture.h"

namespace millrace::storage {
namespace {

using protocol::BatchHeader;
using protocol::BatchOptions;
using protocol::Compression;

constexpr int64_t kStartMs = 1'700'000'000'000;
constexpr int64_t kDeleteRetentionMs = 50;
constexpr int kSteps = 50;
#ifdef __OPTIMIZE__
constexpr int kSeeds = 2000;
#else
constexpr int kSeeds = 300;  // with a sanitizer, which takes ten times as long
#endif
constexpr int kSeedsPerFault = 500;

struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};
void require(bool holds, const std::string& what) {
  if (!holds) throw Violation(what);
}
template <class T>
T take(Result<T> result) {
  if (!result) throw Violation(result.error().message);
  return std::move(*result);
}
void take(const Result<>& result) {
  if (!result) throw Violation(result.error().message);
}

struct ModelRecord {
  std::string key;
  std::optional<std::string> value;
  int64_t timestamp_ms = 0;
  auto operator<=>(const ModelRecord&) const = default;
};
struct ModelBatch {
  BatchHeader header;
  Buffer sent;  // for who sends it again
};

// What goes wrong on purpose.
enum class Fault {
  kNone,
  kUnsyncedSwap,        // the new segment takes its place before it is on disk
  kEarlyTombstone,      // a tombstone goes as soon as it has a delete horizon
  kNewestIgnored,       // the key map keeps the first offset of a key
  kNewestDropped,       // the key map has an offset beyond the newest record
  kProducersForgotten,  // no batch is kept for its sequence number
  kMergeNotAnnounced,   // nothing says which segments are being merged
  kIndexNotFlushed,     // the index still covers the replaced segments
  kCheckpointTooFar,    // what wasn't compacted counts as compacted
};

class FaultyCompaction final : public Compaction {
 public:
  FaultyCompaction(FileSystem& files, CompactionPlan plan, size_t memory_bytes, Fault fault)
      : Compaction(files, std::move(plan), memory_bytes, HashSecret{1, 2}), fault_(fault) {}

 protected:
  bool note_key(Bytes key, int64_t offset) override {
    if (fault_ == Fault::kNewestIgnored && !seen_.insert(std::string(as_text(key))).second) return true;
    return Compaction::note_key(key, fault_ == Fault::kNewestDropped ? offset + 1 : offset);
  }
  bool keeps(const BatchHeader& header, const protocol::RecordView& record) const override {
    if (!Compaction::keeps(header, record)) return false;
    return fault_ != Fault::kEarlyTombstone || record.value || !header.has_delete_horizon();
  }

 private:
  const Fault fault_;
  std::set<std::string> seen_;
};

// What is known of the index at some moment; it is durable in the order in which it was written.
using IndexState = std::vector<std::pair<SegmentSummary, std::vector<IndexEntry>>>;

OffsetIndex& shared_index() {
  static const std::unique_ptr<OffsetIndex> index = std::move(*OffsetIndex::open_in_memory());
  return *index;
}

class CompactionModel {
 public:
  CompactionModel(uint32_t seed, Fault fault) : random_(seed), fault_(fault), index_(shared_index()) {
    options_.directory = "/data/topics/t-0";
    options_.id = {Uuid::from_random(seed, static_cast<uint64_t>(fault) + 1), 0};
    options_.topic = "t";
    options_.config.compact = true;
    options_.config.delete_old = true;
    options_.config.retention_ms = -1;
    options_.config.delete_retention_ms = kDeleteRetentionMs;
    options_.config.index_interval_bytes = 100;
    options_.config.file_delete_delay_ms = 0;
    options_.producer_expiration_ms = int64_t{1} << 50;
    files_.is_early = [this] { return below(4) == 0; };
    take(disk_.create_directory(options_.directory));
    open();
  }
  ~CompactionModel() { (void)index_.remove_partition(options_.id); }

  void step() {
    now_ms_ += below(40);
    switch (below(16)) {
      case 0:
      case 1:
        seal();
        break;
      case 2:
      case 3:
      case 4:
        compact();
        break;
      case 5:
        lose(below(2) == 0);
        break;
      case 6:
        remove_some();
        break;
      case 7:
        resend();
        break;
      default:
        append();
        break;
    }
    note_index_state();
  }

  // Everything that the log must hold to, by one read from its start.
  void check() {
    require(log_->log_start_offset() == start_, moved("start", start_, log_->log_start_offset()));
    require(log_->log_end_offset() == end_, moved("end", end_, log_->log_end_offset()));
    std::map<int64_t, ModelRecord> found;
    for (int64_t next = start_; next < end_;) {
      const auto slice = take(log_->read(next, end_, 1, true));
      require(slice.size > 0, "nothing to read at " + std::to_string(next));
      Buffer bytes(slice.size);
      require(take(slice.file->read_at(bytes, slice.position)) == slice.size, "a short read");
      next = check_batch(bytes, next, found);
    }
    check_records(found);
    check_time_lookup(found);
  }

  const std::map<std::string, int>& counts() const { return counts_; }

 private:
  static std::string moved(const std::string& what, int64_t from, int64_t to) {
    return "the log " + what + " moved from " + std::to_string(from) + " to " + std::to_string(to);
  }
  int64_t below(int64_t limit) { return std::uniform_int_distribution<int64_t>(0, limit - 1)(random_); }

  void open() {
    RecoveryReport report;
    options_.now_ms = now_ms_;
    log_ = take(Log::open(files_, index_, options_, &report));
    require(report.cuts.empty() || is_torn_, "recovery cut what was whole");
  }

  void append() {
    std::vector<ModelRecord> records;
    for (int64_t i = 1 + below(4); i > 0; --i) {
      ModelRecord& record = records.emplace_back();
      record.key = std::string(1, static_cast<char>('a' + below(7)));
      if (below(4) != 0)
        record.value = std::string(static_cast<size_t>(below(60)), static_cast<char>('A' + below(26)));
      record.timestamp_ms = now_ms_ + below(20) - 10;
    }
    BatchOptions batch;
    batch.compression = static_cast<Compression>(below(3) == 0 ? below(5) : 0);
    if (below(2) == 0) {
      batch.producer_id = 100 + below(3);
      batch.producer_epoch = 0;
      const ModelBatch* last = last_of(batch.producer_id);
      batch.base_sequence = last == nullptr ? 0 : last->header.last_sequence() + 1;
    }
    protocol::BatchBuilder builder(batch);
    for (const ModelRecord& record : records) {
      std::optional<Bytes> value;
      if (record.value) value = as_bytes(*record.value);
      builder.append(as_bytes(record.key), value, {}, record.timestamp_ms);
    }
    const Buffer sent = take(builder.build());
    Buffer written = sent;
    if (below(10) == 0) ++epoch_;
    const auto info = log_->append_as_leader(written, epoch_, now_ms_);
    if (!info && files_.is_dead()) return;
    require(info.has_value(), "an append failed: " + (info ? "" : info.error().message));
    require(!info->duplicate && info->base_offset == end_, "an append went elsewhere");
    batches_[end_] = {*protocol::peek_batch_header(written), sent};
    for (const ModelRecord& record : records) records_[end_++] = record;
    ++counts_["append"];
  }

  // The last batch of that producer that is still in the log.
  const ModelBatch* last_of(int64_t producer_id) const {
    for (auto at = batches_.rbegin(); at != batches_.rend(); ++at) {
      if (at->second.header.producer_id == producer_id) return &at->second;
    }
    return nullptr;
  }

  void resend() {
    const ModelBatch* last = last_of(100 + below(3));
    if (last == nullptr || last->header.last_offset() < start_) return;
    Buffer again = last->sent;
    const auto info = log_->append_as_leader(again, epoch_, now_ms_);
    require(info && info->duplicate && info->base_offset == last->header.base_offset,
            "a batch sent again isn't found to be one");
    ++counts_["resend"];
  }

  void seal() {
    take(log_->flush());
    take(log_->roll(now_ms_));
  }

  void remove_some() {
    if (below(3) == 0) {
      // Never below the high watermark, and that is what was compacted.
      const int64_t to = std::max({clean_bound_, start_, end_ - below(10)});
      take(log_->truncate_to(to, now_ms_));
      forget_from(to);
      note_flushed_index();
      require(log_->log_end_offset() <= to, "a truncation left too much");
      ++counts_["truncate"];
    } else if (below(2) == 0) {
      take(log_->flush());
      start_ = take(log_->delete_records(start_ + below(end_ - start_ + 1) / 3));
      ++counts_["delete"];
    } else {
      take(log_->flush());
      retain();
      ++counts_["retain"];
    }
  }

  void retain() {
    options_.config.retention_bytes = 300 + below(3000);
    log_->set_config(options_.config);
    take(test::retain(*log_, disk_, now_ms_, end_));
    options_.config.retention_bytes = -1;
    log_->set_config(options_.config);
    start_ = log_->log_start_offset();
  }

  // Batches that reach `offset` are gone.
  void forget_from(int64_t offset) {
    while (!batches_.empty() && batches_.rbegin()->second.header.last_offset() >= offset) {
      end_ = batches_.rbegin()->first;
      batches_.erase(end_);
    }
    records_.erase(records_.lower_bound(end_), records_.end());
    met_.erase(met_.lower_bound(end_), met_.end());
    end_ = log_->log_end_offset();
  }

  void compact() {
    if (below(3) != 0) seal();
    const auto range = take(log_->cleanable(now_ms_, end_));
    if (range) {
      clean_bound_ = std::max(clean_bound_, range->end_offset);
      for (const auto& [offset, record] : records_) {
        if (offset < range->end_offset && !record.value) met_.emplace(offset, now_ms_);
      }
    }
    if (below(2) == 0) files_.operations_left = 1 + below(30);
    const auto done = driver().run(*log_, now_ms_, end_);
    if (files_.is_dead()) {
      ++counts_["death"];
      return lose(below(2) == 0);
    }
    files_.revive();
    if (!done) throw Violation("a compaction failed: " + done.error().message);
    ++counts_[*done ? "compaction" : range ? "given up" : "nothing to do"];
    if (fault_ == Fault::kCheckpointTooFar && *done) {
      (void)log_->cleaner_checkpoint()->advance(log_->recovery_point(),
                                                log_->cleaner_checkpoint()->version());
    }
    check();
  }

  test::CompactionDriver driver() {
    test::CompactionDriver driver{files_, index_};
    driver.memory_bytes = below(4) == 0 ? 0 : 1 << 16;
    driver.step_bytes = 1 + below(2000);
    driver.between = [this] {
      note_index_state();
      if (files_.is_dead()) return;
      if (below(6) == 0) append();
      if (below(60) == 0 && files_.operations_left < 0) retain();
    };
    driver.intent_persisted = [this] { note_flushed_index(); };
    driver.announces = fault_ != Fault::kMergeNotAnnounced;
    if (fault_ == Fault::kIndexNotFlushed) driver.intent_persisted = [] {};
    if (fault_ == Fault::kUnsyncedSwap) files_.unsynced_suffix = std::string(CompactedSegment::kSuffix);
    driver.make = [this](FileSystem& files, CompactionPlan plan, size_t memory) {
      plan.segment_bytes = 200 + below(1500);
      if (fault_ == Fault::kProducersForgotten) plan.producers.clear();
      return std::make_unique<FaultyCompaction>(files, std::move(plan), memory, fault_);
    };
    return driver;
  }

  // The process is killed, or the machine loses its power.
  void lose(bool power) {
    const int64_t synced = log_->recovery_point();
    log_.reset();
    files_.revive();
    is_torn_ = power;
    if (power) {
      disk_.crash(
          [&](size_t unsynced) { return static_cast<size_t>(below(static_cast<int64_t>(unsynced) + 1)); });
    }
    lose_index();
    open();
    is_torn_ = false;
    const int64_t end = log_->log_end_offset();
    require(end >= synced && end <= end_, "lost what was synced");
    require(power || end == end_, "lost what was in the page cache");
    if (end < end_) forget_from(end);
    ++counts_[power ? "power loss" : "kill"];
    check();
    for (int i = 0; i < 2; ++i) resend();
  }

  // The index is that of some moment since its last flush, or gone.
  void lose_index() {
    const auto at = below(static_cast<int64_t>(index_states_.size()) + 1);
    take(index_.remove_partition(options_.id));
    if (at < static_cast<int64_t>(index_states_.size())) {
      for (const auto& [summary, entries] : index_states_[static_cast<size_t>(at)])
        take(index_.seal({options_.id, summary.base_offset}, entries, summary));
    }
    if (below(4) == 0) lose_snapshots();
    note_flushed_index();
  }
  void lose_snapshots() {
    for (const std::string& path : disk_.paths()) {
      if (path.ends_with(".snapshot")) take(disk_.remove(path));
    }
    take(disk_.sync_directory(options_.directory));
  }

  void note_index_state() {
    IndexState state;
    for (const SegmentSummary& summary : take(index_.summaries(options_.id)))
      state.emplace_back(summary, take(index_.entries({options_.id, summary.base_offset})));
    index_states_.push_back(std::move(state));
  }
  void note_flushed_index() {
    index_states_.clear();
    note_index_state();
  }

  // Returns where the next batch begins.
  int64_t check_batch(const Buffer& bytes, int64_t at_least, std::map<int64_t, ModelRecord>& found) {
    const BatchHeader header = take(protocol::read_batch_header(bytes));
    const std::string where = "the batch at " + std::to_string(header.base_offset);
    require(protocol::crc_matches(bytes), where + " has a wrong CRC");
    require(header.size_bytes() == bytes.size(), where + " is cut");
    require(header.last_offset() >= at_least, where + " is below what was asked for");
    const auto model = batches_.find(header.base_offset);
    require(model != batches_.end(), where + " was never appended");
    const BatchHeader& first = model->second.header;
    require(header.last_offset_delta == first.last_offset_delta, where + " has another last offset");
    require(header.partition_leader_epoch == first.partition_leader_epoch, where + " has another epoch");
    require(header.producer_id == first.producer_id && header.producer_epoch == first.producer_epoch &&
                header.base_sequence == first.base_sequence,
            where + " has another producer");
    require(header.record_count == 0 || header.compression() == first.compression(),
            where + " has another codec");
    take(protocol::for_each_record(bytes, 1 << 20, [&](const protocol::RecordView& record) {
      ModelRecord stored{std::string(as_text(*record.key)), {}, record.timestamp_ms};
      if (record.value) stored.value = std::string(as_text(*record.value));
      const auto appended = records_.find(record.offset);
      require(appended != records_.end() && appended->second == stored,
              "another record at " + std::to_string(record.offset));
      if (record.offset >= start_) found.emplace(record.offset, std::move(stored));
      return true;
    }));
    return header.last_offset() + 1;
  }

  // Whether what is missing may be missing, and nothing is there twice that should not be.
  void check_records(const std::map<int64_t, ModelRecord>& found) const {
    std::map<std::string, int64_t> latest_compacted;
    std::map<std::string, int64_t> latest;
    for (const auto& [offset, record] : records_) {
      if (offset < clean_bound_) latest_compacted[record.key] = offset;
      latest[record.key] = offset;
    }
    for (const auto& [offset, record] : records_) {
      if (offset < start_ || found.contains(offset)) continue;
      const std::string what = record.key + " at " + std::to_string(offset);
      require(offset < clean_bound_, what + " is gone, and was in no compaction");
      if (latest_compacted[record.key] > offset) continue;
      require(!record.value, what + " is gone, and was the latest");
      const auto met = met_.find(offset);
      require(met != met_.end() && met->second + kDeleteRetentionMs <= now_ms_, what + " is gone too early");
    }
    std::set<std::string> compacted;
    std::map<std::string, int64_t> latest_found;
    for (const auto& [offset, record] : found) {
      latest_found[record.key] = offset;
      if (offset < log_->first_dirty_offset())
        require(compacted.insert(record.key).second, record.key + " is twice in the compacted part");
    }
    for (const auto& [key, offset] : latest_found) {
      require(offset == latest[key] || !found.at(offset).value,
              key + " is back, at " + std::to_string(offset));
    }
  }

  void check_time_lookup(const std::map<int64_t, ModelRecord>& found) {
    const int64_t timestamp_ms = now_ms_ - below(200);
    int64_t expected = -1;
    int64_t largest = -1;
    for (const auto& [offset, record] : found) {
      if (expected < 0 && record.timestamp_ms >= timestamp_ms) expected = offset;
      largest = std::max(largest, record.timestamp_ms);
    }
    const auto at = take(log_->offset_for_timestamp(timestamp_ms));
    require((at ? at->offset : -1) == expected, "a timestamp leads elsewhere");
    const auto newest = take(log_->max_timestamp());
    // Records below the start may count.
    require(newest ? newest->timestamp_ms >= largest : largest == -1, "the largest timestamp isn't found");
  }

  std::mt19937 random_;
  const Fault fault_;
  OffsetIndex& index_;
  test::FaultFileSystem disk_;
  test::DyingFileSystem files_{disk_};
  LogOptions options_;
  std::unique_ptr<Log> log_;
  int64_t now_ms_ = kStartMs;
  int32_t epoch_ = 0;
  int64_t start_ = 0;
  int64_t end_ = 0;
  bool is_torn_ = false;
  std::map<int64_t, ModelBatch> batches_;
  std::map<int64_t, ModelRecord> records_;
  // No compaction went beyond.
  int64_t clean_bound_ = 0;
  // When a tombstone was first met by a compaction, by its offset.
  std::map<int64_t, int64_t> met_;
  std::vector<IndexState> index_states_;
  std::map<std::string, int> counts_;
};

// What went wrong, if anything did.
std::optional<std::string> run(uint32_t seed, Fault fault, std::map<std::string, int>& counts) {
  int step = 0;
  CompactionModel model(seed, fault);
  try {
    for (; step < kSteps; ++step) model.step();
    model.check();
  } catch (const Violation& violation) {
    return "step " + std::to_string(step) + ": " + violation.what();
  }
  for (const auto& [what, count] : model.counts()) counts[what] += count;
  return std::nullopt;
}

TEST_CASE("Whatever happens to a compacted log, it has the latest record of each key") {
  std::map<std::string, int> counts;
  for (uint32_t seed = 1; seed <= kSeeds; ++seed) {
    const auto wrong = run(seed, Fault::kNone, counts);
    if (wrong) FAIL("seed " << seed << ", " << *wrong);
  }
  for (const char* what : {"append", "resend", "truncate", "delete", "retain", "compaction", "given up",
                           "death", "power loss", "kill"}) {
    INFO(what);
    CHECK(counts[what] > kSeeds / 20);
  }
  std::cout << kSeeds << " compacted logs:";
  for (const auto& [what, count] : counts) std::cout << " " << count << " x " << what << ";";
  std::cout << " violations: 0\n";
}

TEST_CASE("The model test finds a compaction that does wrong") {
  const auto fault = GENERATE(Fault::kUnsyncedSwap, Fault::kEarlyTombstone, Fault::kNewestIgnored,
                              Fault::kNewestDropped, Fault::kProducersForgotten, Fault::kMergeNotAnnounced,
                              Fault::kIndexNotFlushed, Fault::kCheckpointTooFar);
  INFO("fault " << static_cast<int>(fault));
  std::map<std::string, int> counts;
  std::optional<std::string> found;
  uint32_t seed = 0;
  while (!found && seed < kSeedsPerFault) found = run(++seed, fault, counts);
  CHECK(found);
  if (found) std::cout << "planted fault " << static_cast<int>(fault) << ": found with seed " << seed << '\n';
}

}  // namespace
}  // namespace millrace::storage
