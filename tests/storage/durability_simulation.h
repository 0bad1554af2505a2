// Random operations on a shard's storage, with crashes at any operation of the file system, full disks,
// failing reads, writes and syncs, and damage; after each restart everything is compared with the model. All
// of a run follows from its seed.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "storage/log_inspector.h"
#include "tests/storage/durability_model.h"
#include "tests/storage/simulated_shard.h"

namespace millrace::storage::test {

struct SimulationCounts {
  std::map<std::string, int64_t> done;  // operations, faults, crashes by name

  void add(const SimulationCounts& other) {
    for (const auto& [what, count] : other.done) done[what] += count;
  }
};

class DurabilitySimulation {
 public:
  explicit DurabilitySimulation(uint32_t seed, Plant plant = Plant::kNone);

  // Told of everything that happens.
  std::function<void(const std::string&)> trace;

  // Throws Violation.
  void run();
  const SimulationCounts& counts() const { return counts_; }

 private:
  using After = PartitionModel::After;

  static constexpr int kLives = 7;
  static constexpr int64_t kSteps = 160;
  static constexpr int64_t kNowMs = 1'700'000'000'000;
  static constexpr size_t kPlain = 0;
  static constexpr size_t kRetained = 1;
  static constexpr size_t kCompacted = 2;
  static constexpr size_t kRelaxed = 3;
  static constexpr size_t kLarge = 4;
  static constexpr size_t kPartitions = 5;
  // So that a round of commits has several groups.
  static constexpr size_t kSmallGroupBytes = 2 * kJournalBlockBytes;
  // Of a forged group, without the zeros at its end.
  static constexpr size_t kForgedBytes = 256;

  // The process stops here, and everything in memory with it.
  struct Stop {};

  void make_partitions();

  int64_t below(int64_t limit) { return std::uniform_int_distribution<int64_t>(0, limit - 1)(random_); }
  bool chance(int64_t percent) { return below(100) < percent; }
  void count(const std::string& what);
  void tell(size_t i, const char* what);
  Log& log(size_t i) { return *shard_.partitions()[i].log; }
  PartitionModel& model(size_t i) { return models_[i]; }

  // Faults.

  Verdict judge(Operation operation, const std::string& path);
  Verdict troubled(Operation operation);

  bool in_trouble() const { return disk_full_ || disk_fails_; }
  void end_trouble() { disk_full_ = disk_fails_ = false; }

  // Whether an operation was done for certain. Not when the process died in it. Otherwise only a disk in
  // trouble may make it fail.
  template <class R>
  bool did(const R& result, const char* what) {
    if (crashed_ && trace) trace(fmt::format("  crash in {}", what));
    // PosixFileSystem tells the broker, which ends at once.
    if (crashed_ || sync_failed_) throw Stop{};
    if (result) {
      count(what);
      return true;
    }
    require(in_trouble(), "{} failed: {}", what, result.error().message);
    return false;
  }
  // Who can't go on after a failure.
  template <class R>
  void must_do(const R& result, const char* what) {
    if (!did(result, what)) throw Stop{};
  }

  // Lives.

  After end_life();
  void lose_power();

  // Until a start gets through.
  After start(bool clean, After after);
  void verify(After after);
  // What `log verify` says of it, where nothing was damaged.
  void inspect(bool clean);

  // Returns whether it ended with a clean stop.
  bool live();

  int64_t now_ms() const { return kNowMs + steps_ * 3; }

  // Operations.

  void step();
  size_t any_plain();
  void change_trouble();
  Buffer make_batch(size_t i);

  // A record with a group of the journal in it, which begins at a block if the record's batch is the first of
  // its group, and has a batch for another partition that nobody appended.
  Buffer make_forging_batch();

  // Lets the machine stop while that group is written, so that of the record's group the end may be there and
  // the start not.
  void forge();
  void append(size_t i);
  void append(size_t i, Buffer batch);
  Buffer stamped(Buffer batch, int64_t base_offset) const;

  // What a producer does that didn't get the answer.
  void retry_last(size_t i);
  void check_full_disk(const Result<>& done, const char* what) const;
  void commit();
  void checkpoint();
  void finish_rounds();
  void add_journal_file();
  void clean();
  void retain(size_t i);
  bool sync_names(size_t i);
  void delete_records(size_t i);
  void truncate(size_t i);
  void roll(size_t i);

  // Planted faults, and damage.

  Result<LogCheckpoint> checkpoint_of(size_t i);
  void restore_floor(size_t i, const LogCheckpoint& before);

  // Makes every CRC right, so that no check finds anything: as if there were none.
  void hide_damage();

  struct Damage {
    std::string path;
    size_t position = 0;
    std::byte flipped{};
    // Of a segment that is gone, or cut off between two batches: what it had.
    std::optional<Buffer> lost = std::nullopt;
    std::vector<std::optional<std::byte>> left = {};  // what the flip made of the byte, cached and on disk
  };
  // A segment that must be there: it has records at or above the log's start, and the next one begins below
  // the recovery point. Without the index only that tells of it.
  std::optional<Damage> lose_something();
  static size_t first_batch_of(const Buffer& content);
  // A flipped bit where a start must see it: in the journal, or under a CRC of a segment that the index
  // doesn't cover, since it is lost, too.
  std::optional<Damage> damage_something();
  // A flipped bit in a batch's base offset, which no CRC covers, in a log that was never compacted.
  std::optional<Damage> misplace_something();
  std::optional<size_t> anywhere(const Buffer& content);
  std::optional<size_t> place_under_crc(const Buffer& content);
  static std::vector<std::pair<size_t, size_t>> places_of_batches(const Buffer& content);
  void flip(Damage& damage);
  void flip_back(const Damage& damage);
  // Whether a log has found damage in synced data, which must then not be read.
  bool refuses_what_is_damaged();
  // Whether that is in this file.
  bool names_as_damaged(const std::string& path);

  // What a person does: restores the file.
  void repair();

  std::mt19937 random_;
  std::mt19937 forger_;  // its own, so that the other seeds' runs stay as they are
  std::mt19937 looter_;  // the same
  std::mt19937 misplacer_;
  const bool forges_;
  const bool misplaces_;
  const Plant plant_;
  FaultFileSystem files_;
  SimulatedShard shard_;
  std::vector<PartitionModel> models_;
  std::vector<int64_t> next_values_;
  SimulationCounts counts_;
  int32_t leader_epoch_ = 0;
  int64_t steps_ = 0;
  FaultFileSystem::NameOrder name_order_;
  bool has_trouble_ = false;
  bool has_damage_ = false;
  std::optional<Damage> damage_;
  bool calm_ = false;     // nothing fails
  bool crashed_ = false;  // everything does
  bool sync_failed_ = false;
  int64_t operations_left_ = 0;  // until the crash; 0: none
  bool disk_full_ = false;
  bool disk_fails_ = false;
};

}  // namespace millrace::storage::test
