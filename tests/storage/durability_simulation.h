// Random operations on a shard's storage, with crashes at any operation of the file system, full disks,
// failing reads, writes and syncs, and damage; after each restart everything is compared with the model. All
// of a run follows from its seed.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

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
  explicit DurabilitySimulation(uint32_t seed, Plant plant = Plant::kNone)
      : random_(seed),
        forger_(seed + 2),
        looter_(seed + 3),
        forges_(plant == Plant::kKnownSalt || (plant == Plant::kNone && seed % 5 == 4)),
        plant_(plant),
        shard_(files_, plant) {
    files_.random.seed(seed + 1);
    files_.judge = [this](Operation operation, const std::string& path) { return judge(operation, path); };
    // Planted faults are to be noticed by what is lost, not hidden behind others.
    has_trouble_ = plant == Plant::kNone && chance(40);
    has_damage_ = plant == Plant::kNone && !has_trouble_ && chance(20);
    name_order_ = chance(30) ? FaultFileSystem::NameOrder::kArbitrary : FaultFileSystem::NameOrder::kKept;
    make_partitions();
  }

  // Told of everything that happens.
  std::function<void(const std::string&)> trace;

  // Throws Violation.
  void run() {
    bool clean = false;
    auto after = PartitionModel::After::kNothing;
    for (int life = 0; life < kLives; ++life) {
      after = start(clean, after);
      verify(after);
      clean = live();
      after = clean ? PartitionModel::After::kKill : PartitionModel::After::kNothing;
      if (!clean) after = end_life();
      // A clean stop leaves nothing that a power loss could take.
      if (clean && chance(30)) {
        lose_power();
        after = PartitionModel::After::kPowerLoss;
      }
    }
  }
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
  // Of a forged group, without the zeros at its end.
  static constexpr size_t kForgedBytes = 256;

  // The process stops here, and everything in memory with it.
  struct Stop {};

  void make_partitions() {
    for (size_t i = 0; i < kPartitions; ++i) {
      SimulatedPartition& partition = shard_.partitions().emplace_back();
      LogOptions& options = partition.options;
      options.topic = "t" + std::to_string(i);
      options.id = {Uuid::from_random(7, i + 1), static_cast<int32_t>(i)};
      options.directory = "/data/topics/" + options.topic + "-" + std::to_string(i);
      options.now_ms = kNowMs;
      LogConfig& config = options.config;
      config.segment_bytes = i == kLarge ? 1 << 20 : 1500;
      config.index_interval_bytes = 200;
      config.file_delete_delay_ms = chance(50) ? 0 : 5;
      config.retention_ms = -1;
      config.retention_bytes = i == kRetained ? 4000 : -1;
      config.flush_messages = i == kRelaxed ? 1'000'000 : 1;
      config.compact = i == kCompacted;
      config.delete_old = i != kCompacted;
      config.delete_retention_ms = 20;
      (void)files_.create_directory(options.directory);
      models_.emplace_back(options.topic, config.compact);
      next_values_.push_back(0);
    }
  }

  int64_t below(int64_t limit) { return std::uniform_int_distribution<int64_t>(0, limit - 1)(random_); }
  bool chance(int64_t percent) { return below(100) < percent; }
  void count(const std::string& what) {
    ++counts_.done[what];
    if (trace) trace(what);
  }
  void tell(size_t i, const char* what) {
    if (trace)
      trace(fmt::format("  {}: {} {} to {}, recovery point {}, acknowledged {}", log(i).name(), what,
                        log(i).log_start_offset(), log(i).log_end_offset(), log(i).recovery_point(),
                        model(i).acknowledged_end()));
  }
  Log& log(size_t i) { return *shard_.partitions()[i].log; }
  PartitionModel& model(size_t i) { return models_[i]; }

  // Faults.

  Verdict judge(Operation operation, const std::string& path) {
    if (trace && !calm_ && operation != Operation::kRead && operation != Operation::kLook)
      trace(fmt::format("    {} {}{}", static_cast<int>(operation), path, crashed_ ? " (dead)" : ""));
    if (calm_) return Verdict::kProceed;
    if (crashed_) return Verdict::kFail;
    const bool changes =
        operation != Operation::kRead && operation != Operation::kLook && operation != Operation::kOpen;
    if (changes && operations_left_ > 0 && --operations_left_ == 0) {
      crashed_ = true;
      count("crash in an operation");
      return chance(60) ? Verdict::kPartly : Verdict::kFail;
    }
    if (plant_ == Plant::kUnsyncedSwap && operation == Operation::kSync &&
        path.ends_with(CompactedSegment::kSuffix)) {
      return Verdict::kSwallow;
    }
    return troubled(operation);
  }

  Verdict troubled(Operation operation) {
    const bool grows = operation == Operation::kWrite || operation == Operation::kCreate;
    if (disk_full_ && grows && chance(70)) {
      count("fault: no space");
      return operation == Operation::kWrite && chance(70) ? Verdict::kPartly : Verdict::kFail;
    }
    if (!disk_fails_ || !chance(4)) return Verdict::kProceed;
    switch (operation) {
      case Operation::kRead:
        count("fault: read");
        return Verdict::kFail;
      case Operation::kWrite:
      case Operation::kDurableWrite:
        count("fault: write");
        return chance(50) ? Verdict::kPartly : Verdict::kFail;
      case Operation::kSync:
      case Operation::kSyncDirectory:
      case Operation::kSyncAll:
        count("fault: sync");
        sync_failed_ = true;
        return Verdict::kFail;
      case Operation::kRename:
      case Operation::kTruncate:
      case Operation::kCreate:
        count("fault: rename, truncate, create");
        return Verdict::kFail;
      default:
        return Verdict::kProceed;
    }
  }

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

  After end_life() {
    sync_failed_ = false;
    if (!crashed_) count("crash between operations");
    end_trouble();
    shard_.die(chance(10));
    if (chance(40)) {
      count("kill");
      return After::kKill;
    }
    lose_power();
    return After::kPowerLoss;
  }
  void lose_power() {
    count("power loss");
    files_.lose_power(name_order_);
    if (plant_ == Plant::kUncheckedCrc) hide_damage();
  }

  // Until a start gets through.
  After start(bool clean, After after) {
    if (after != After::kNothing && !clean && has_damage_ && chance(50)) damage_ = damage_something();
    const bool is_damaged = damage_.has_value();
    while (true) {
      crashed_ = false;
      operations_left_ = chance(30) ? 1 + below(30) : 0;
      disk_fails_ = has_trouble_ && chance(10);
      disk_full_ = has_trouble_ && chance(10);
      const auto opened = shard_.open(clean);
      const bool lacks_segment = damage_ && damage_->lost && !damage_->lost->empty();
      require(crashed_ || !opened || !lacks_segment, "starts without all of {}",
              lacks_segment ? damage_->path : "");
      const bool refuses_range = !crashed_ && opened && damage_ && refuses_what_is_damaged();
      if (!crashed_ && opened && !refuses_range) {
        count("start");
        break;
      }
      const bool may_fail = crashed_ || in_trouble() || damage_;
      require(may_fail, "no start: {}", opened ? "" : opened.error().message);
      count(crashed_        ? "crash in a start"
            : refuses_range ? "refused damaged range"
            : lacks_segment ? "refused start without a segment"
            : damage_       ? "refused start of damaged data"
                            : "failed start");
      if (damage_ && !crashed_) repair();
      clean = false;
      const After next = end_life();
      if (after != After::kPowerLoss) after = next;
    }
    end_trouble();
    return is_damaged ? After::kDamage : after;
  }

  void verify(After after) {
    calm_ = true;
    damage_.reset();
    for (size_t i = 0; i < kPartitions; ++i) {
      tell(i, "opened");
      model(i).check(log(i), after);
      retry_last(i);
    }
    calm_ = false;
  }

  // Returns whether it ended with a clean stop.
  bool live() {
    operations_left_ = chance(80) ? 1 + below(250) : 0;
    crashed_ = false;
    try {
      if (chance(80)) add_journal_file();
      for (int64_t i = 1 + below(kSteps); i > 0; --i) {
        step();
        if (crashed_ || sync_failed_) throw Stop{};
        for (size_t p = 0; p < kPartitions; ++p) {
          model(p).acknowledge(log(p).recovery_point());
        }
      }
      if (!chance(30)) return false;
      for (size_t i = 0; i < kPartitions; ++i) {
        if (log(i).is_offline()) return false;
      }
      end_trouble();
      finish_rounds();
      must_do(shard_.close(now_ms()), "clean stop");
      shard_.die(false);
      return true;
    } catch (const Stop&) {
      return false;
    }
  }

  int64_t now_ms() const { return kNowMs + steps_ * 3; }

  // Operations.

  void step() {
    ++steps_;
    if (has_trouble_) change_trouble();
    const int64_t choice = below(100);
    if (forges_ && forger_() % 40 == 0) return forge();
    if (choice < 42) return append(static_cast<size_t>(below(kPartitions)));
    if (choice < 70) return commit();
    if (choice < 78) return checkpoint();
    if (choice < 84) return clean();
    if (choice < 87) return add_journal_file();
    if (choice < 90) return retain(static_cast<size_t>(below(kPartitions)));
    if (choice < 92) return delete_records(any_plain());
    if (choice < 94) return truncate(static_cast<size_t>(below(kPartitions)));
    if (choice < 97) return roll(static_cast<size_t>(below(kPartitions)));
    const auto i = static_cast<size_t>(below(kPartitions));
    if (log(i).is_offline()) throw Stop{};
    calm_ = true;
    model(i).check(log(i), After::kNothing);
    retry_last(i);
    calm_ = false;
  }

  size_t any_plain() {
    constexpr std::array kPlainOnes{kPlain, kRetained, kRelaxed, kLarge};
    return kPlainOnes[static_cast<size_t>(below(kPlainOnes.size()))];
  }

  void change_trouble() {
    if (in_trouble()) {
      if (!chance(10)) return;
      end_trouble();
      count("trouble ends");
      return;
    }
    if (!chance(4)) return;
    (chance(50) ? disk_full_ : disk_fails_) = true;
  }

  Buffer make_batch(size_t i) {
    protocol::BatchOptions options;
    if (chance(60)) {
      options.producer_id = model(i).producer_generation() * 10 + below(2);
      options.producer_epoch = 0;
      options.base_sequence = 0;
      for (const ModelBatch& batch : model(i).batches()) {
        if (batch.header.producer_id == options.producer_id)
          options.base_sequence = batch.header.last_sequence() + 1;
      }
    }
    options.compression = chance(10) ? protocol::Compression::kLz4 : protocol::Compression::kNone;
    protocol::BatchBuilder builder(options);
    const bool is_huge = i == kLarge && chance(4);
    for (int64_t n = 1 + below(is_huge ? 2 : 4); n > 0; --n) {
      const std::string key = "k" + std::to_string(below(6));
      std::string value = "v" + std::to_string(next_values_[i]++);
      value.resize(is_huge ? size_t{300} << 10 : static_cast<size_t>(10 + below(chance(10) ? 300 : 120)),
                   'x');
      std::optional<Bytes> bytes;
      if (i != kCompacted || !chance(15)) bytes = as_bytes(value);
      builder.append(as_bytes(key), bytes, {}, now_ms());
    }
    auto batch = builder.build();
    require(batch.has_value(), "a batch that can't be built");
    return std::move(*batch);
  }

  // A record with a group of the journal in it, which begins at a block if the record's batch is the first of
  // its group, and has a batch for another partition that nobody appended.
  Buffer make_forging_batch() {
    const auto with_value = [&](const std::string& value) {
      protocol::BatchBuilder builder{protocol::BatchOptions()};
      builder.append(std::nullopt, as_bytes(value), {}, now_ms());
      auto batch = builder.build();
      require(batch.has_value(), "a batch that can't be built");
      return std::move(*batch);
    };
    const int64_t end = log(kPlain).log_end_offset();
    Buffer appended = with_value("forged");
    protocol::set_base_offset(appended, end);
    JournalGroupBuilder forged(shard_.guessed_salt());
    forged.add(shard_.partitions()[kPlain].options.id, end, appended);
    const Bytes group = forged.seal({shard_.journal().next_position(), 1});
    // Behind the headers of a group, an entry, a batch and a record.
    constexpr size_t kBefore = 48 + 40 + protocol::BatchHeader::kSize + 8;
    std::string value(kJournalBlockBytes - kBefore, 'p');
    value.append(as_text(group.first(kForgedBytes)));
    count("forged group");
    return with_value(value);
  }

  // Lets the machine stop while that group is written, so that of the record's group the end may be there and
  // the start not.
  void forge() {
    if (log(kPlain).is_offline() || log(kLarge).is_offline()) return;
    do {
      commit();
    } while (shard_.is_committing());
    append(kLarge, make_forging_batch());
    commit();
    if (!shard_.is_committing() || chance(50)) return;
    operations_left_ = 1;
    commit();
  }

  void append(size_t i) {
    if (log(i).is_offline()) return;
    if (chance(3)) ++leader_epoch_;
    append(i, make_batch(i));
  }
  void append(size_t i, Buffer batch) {
    if (trace) {
      const auto header = protocol::read_batch_header(batch);
      trace(fmt::format("  append to {}, epoch {}, producer {} sequence {}", log(i).name(), leader_epoch_,
                        header->producer_id, header->base_sequence));
    }
    const bool was_full = in_trouble();
    const auto appended = log(i).append_as_leader(batch, leader_epoch_, now_ms());
    if (crashed_ || sync_failed_) {
      // As it would stand in the log if it got there.
      const int64_t base_offset = appended ? appended->base_offset : log(i).log_end_offset();
      model(i).append(stamped(batch, base_offset), false);
      throw Stop{};
    }
    if (!appended) {
      if (log(i).is_offline()) count("log offline");
      require(was_full, "an append failed: {}", appended.error().message);
      count("failed append");
      return;
    }
    require(!appended->duplicate, "{} takes a new batch for a duplicate", log(i).name());
    require(appended->base_offset == model(i).end_offset(), "{} appends at {} instead of {}", log(i).name(),
            appended->base_offset, model(i).end_offset());
    model(i).append(stamped(batch, appended->base_offset), true);
    shard_.partitions()[i].changed = true;
    count(i == kRelaxed ? "append, relaxed" : "append");
    tell(i, "end");
  }
  Buffer stamped(Buffer batch, int64_t base_offset) const {
    protocol::set_base_offset(batch, base_offset);
    protocol::set_partition_leader_epoch(batch, leader_epoch_);
    return batch;
  }

  // What a producer does that didn't get the answer.
  void retry_last(size_t i) {
    const auto& batches = model(i).batches();
    if (batches.empty() || !chance(50)) return;
    const ModelBatch* last = nullptr;
    const int64_t producer_id = model(i).producer_generation() * 10 + below(2);
    for (const ModelBatch& batch : batches) {
      if (batch.header.producer_id == producer_id) last = &batch;
    }
    if (last == nullptr || last->header.base_offset < log(i).log_start_offset()) return;
    Buffer batch = last->bytes;
    protocol::set_base_offset(batch, 0);
    const auto appended = log(i).append_as_leader(batch, leader_epoch_, now_ms());
    require(appended.has_value(), "{}: a retry of the batch at {} fails: {}", log(i).name(),
            last->header.base_offset, appended ? "" : appended.error().message);
    require(appended->duplicate && appended->base_offset == last->header.base_offset,
            "{} doesn't know the batch at {} again", log(i).name(), last->header.base_offset);
    count("retry");
  }

  void commit() {
    if (!shard_.is_committing()) {
      std::vector<size_t> members;
      for (size_t i = 0; i < kPartitions; ++i) {
        if (log(i).is_offline()) continue;
        if (log(i).log_end_offset() > model(i).acknowledged_end() && (i != kRelaxed || chance(10)))
          members.push_back(i);
      }
      must_do(shard_.begin_commit(members), "commit begun");
      return;
    }
    const auto more = shard_.continue_commit();
    must_do(more, "commit step");
    if (*more) return;
    shard_.finish_commit([&](size_t i, int64_t end_offset) {
      if (!crashed_ && !sync_failed_) model(i).acknowledge(end_offset);
    });
    if (crashed_ || sync_failed_) throw Stop{};
    count("commit");
  }

  void checkpoint() {
    if (!shard_.is_checkpointing()) return must_do(shard_.begin_checkpoint(chance(30)), "checkpoint begun");
    const auto more = shard_.continue_checkpoint();
    must_do(more, "checkpoint step");
    if (*more) return;
    shard_.finish_checkpoint();
    if (crashed_ || sync_failed_) throw Stop{};
    count("checkpoint");
  }

  void finish_rounds() {
    while (shard_.is_committing()) commit();
    while (shard_.is_checkpointing()) checkpoint();
  }

  void add_journal_file() {
    if (shard_.wants_journal_file()) (void)did(shard_.add_journal_file(), "journal file");
  }

  void clean() {
    const auto cleaned = shard_.clean(kCompacted, now_ms(), model(kCompacted).acknowledged_end());
    (void)did(cleaned, "compaction step");
  }

  void retain(size_t i) {
    if (log(i).is_offline()) return;
    const int64_t high_watermark = model(i).acknowledged_end();
    model(i).begin_moving_start(high_watermark);
    const auto needs_names = log(i).roll_for_retention(now_ms(), high_watermark);
    if (!did(needs_names, "roll for retention")) return;
    if (*needs_names && !sync_names(i)) return;
    const auto report = log(i).delete_expired(now_ms(), high_watermark);
    if (!did(report, "retention") || !sync_names(i)) return;
    model(i).end_moving_start(log(i).log_start_offset());
    const DueFiles due = log(i).take_due_files(now_ms());
    if (!due.empty()) (void)did(due.remove(files_), "removal of files");
  }

  bool sync_names(size_t i) {
    const DirtyNames names = log(i).dirty_names();
    if (names.directory.empty()) return true;
    if (!did(files_.sync_directory(names.directory), "sync of names")) return false;
    log(i).mark_names_synced(names);
    return true;
  }

  void delete_records(size_t i) {
    if (log(i).is_offline()) return;
    const int64_t start = log(i).log_start_offset();
    const int64_t end = model(i).acknowledged_end();
    if (end <= start) return;
    const int64_t before = start + 1 + below(end - start);
    model(i).begin_moving_start(before);
    const auto deleted = log(i).delete_records(before);
    if (!did(deleted, "delete records")) return;
    require(*deleted == before, "{} deletes up to {} instead of {}", log(i).name(), *deleted, before);
    model(i).end_moving_start(before);
  }

  void truncate(size_t i) {
    if (log(i).is_offline()) return;
    // What is compacted is below the high watermark, where nothing is truncated.
    const int64_t least = i == kCompacted ? std::max(model(i).acknowledged_end(), log(i).log_start_offset())
                                          : log(i).log_start_offset();
    const int64_t end = log(i).log_end_offset();
    if (i != kCompacted && chance(15)) {
      const int64_t offset = least + below(end - least + 20);
      model(i).begin_restart_at(offset);
      if (trace) trace(fmt::format("  restart {} at {}", log(i).name(), offset));
      must_do(log(i).truncate_fully_and_start_at(offset, now_ms()), "restart at another offset");
      model(i).end_restart_at(offset);
      return;
    }
    if (least >= end) return;
    const int64_t offset = least + below(end - least);
    const int64_t new_end = model(i).truncated_end(offset);
    if (new_end < least) return;
    model(i).begin_truncation(new_end);
    const Result<LogCheckpoint> before = checkpoint_of(i);
    if (trace) trace(fmt::format("  truncate {} to {}", log(i).name(), offset));
    const auto truncated = log(i).truncate_to(offset, now_ms());
    must_do(truncated, "truncation");
    require(log(i).log_end_offset() == new_end, "{} ends at {} after a truncation to {}", log(i).name(),
            log(i).log_end_offset(), new_end);
    model(i).end_truncation(new_end);
    if (plant_ == Plant::kJournalAfterTruncate) restore_floor(i, *before);
    ++leader_epoch_;
  }

  void roll(size_t i) {
    if (log(i).is_offline()) return;
    (void)did(log(i).roll(now_ms()), "roll");
    tell(i, "rolled");
  }

  // Planted faults, and damage.

  Result<LogCheckpoint> checkpoint_of(size_t i) {
    calm_ = true;
    const auto loaded = load_checkpoint(files_, log(i).directory());
    calm_ = false;
    if (!loaded || !*loaded) return LogCheckpoint{};
    return **loaded;
  }
  void restore_floor(size_t i, const LogCheckpoint& before) {
    auto now = checkpoint_of(i);
    now->journal_floor = before.journal_floor;
    calm_ = true;
    (void)store_checkpoint(files_, log(i).directory(), *now);
    calm_ = false;
  }

  // Makes every CRC right, so that no check finds anything: as if there were none.
  void hide_damage() {
    for (const std::string& path : files_.paths()) {
      if (!path.ends_with(Segment::kSuffix)) continue;
      for (Buffer* content : {&files_.content(path), &files_.on_disk(path)}) {
        for (size_t at = 0; at + protocol::BatchHeader::kSize <= content->size();) {
          const MutableBytes rest = MutableBytes(*content).subspan(at);
          const auto header = protocol::peek_batch_header(rest);
          if (!header || header->size_bytes() > rest.size()) break;
          protocol::update_crc(rest.first(header->size_bytes()));
          at += header->size_bytes();
        }
      }
    }
  }

  struct Damage {
    std::string path;
    size_t position = 0;
    std::byte flipped{};
    // Of a segment that is gone, or cut off between two batches: what it had.
    std::optional<Buffer> lost = std::nullopt;
  };
  // A segment that must be there: it has records at or above the log's start, and the next one begins below
  // the recovery point. Without the index only that tells of it.
  std::optional<Damage> lose_something() {
    std::vector<std::pair<std::string, std::string>> candidates;
    calm_ = true;
    for (const SimulatedPartition& partition : shard_.partitions()) {
      if (partition.options.config.compact) continue;  // a swap may be half done
      const auto checkpoint = load_checkpoint(files_, partition.options.directory);
      if (!checkpoint || !*checkpoint) continue;
      const auto entries = *files_.list(partition.options.directory);
      const auto is_deleted = [](const DirectoryEntry& entry) {
        return entry.name.ends_with(Segment::kDeletedSuffix);
      };
      if (std::ranges::any_of(entries, is_deleted)) continue;
      std::string before;
      for (const DirectoryEntry& entry : entries) {
        const auto base = Segment::base_offset_of(entry.name);
        if (!base) continue;
        const bool must_follow =
            *base > (*checkpoint)->log_start_offset && *base <= (*checkpoint)->recovery_point;
        if (must_follow && !before.empty()) candidates.emplace_back(partition.options.directory, before);
        before = partition.options.directory + "/" + entry.name;
      }
    }
    std::optional<Damage> damage;
    if (!candidates.empty()) {
      const auto& [directory, path] = candidates[looter_() % candidates.size()];
      damage = Damage{.path = path, .lost = files_.content(path)};
      const size_t first_batch = first_batch_of(*damage->lost);
      if (first_batch == 0 || looter_() % 2 == 0) {
        (void)files_.remove(path);
        (void)files_.sync_directory(directory);
      } else {
        const size_t left = looter_() % 2 == 0 || first_batch == damage->lost->size() ? 0 : first_batch;
        for (Buffer* content : {&files_.content(path), &files_.on_disk(path)}) content->resize(left);
      }
      if (!damage->lost->empty()) {
        count("fault: lost segment");
        shard_.die(true);
      }
    }
    calm_ = false;
    return damage;
  }
  static size_t first_batch_of(const Buffer& content) {
    if (content.size() < protocol::BatchHeader::kSize) return 0;
    const auto header = protocol::peek_batch_header(content);
    return header && header->size_bytes() <= content.size() ? header->size_bytes() : 0;
  }
  // A flipped bit where a start must see it: in the journal, or under a CRC of a segment that the index
  // doesn't cover, since it is lost, too.
  std::optional<Damage> damage_something() {
    if (looter_() % 3 == 0) return lose_something();
    std::vector<std::string> candidates;
    for (const std::string& path : files_.paths()) {
      const bool is_looked_at = path.ends_with(Segment::kSuffix) || path.ends_with(JournalDirectory::kSuffix);
      if (is_looked_at && !files_.content(path).empty()) candidates.push_back(path);
    }
    if (candidates.empty()) return std::nullopt;
    shard_.die(true);
    const std::string& path = candidates[static_cast<size_t>(below(static_cast<int64_t>(candidates.size())))];
    const auto position = path.ends_with(Segment::kSuffix) ? place_under_crc(files_.content(path))
                                                           : anywhere(files_.content(path));
    if (!position) return std::nullopt;
    count("fault: flipped bit");
    const Damage damage{path, *position, std::byte{1} << below(8), std::nullopt};
    flip(damage);
    return damage;
  }
  std::optional<size_t> anywhere(const Buffer& content) {
    return static_cast<size_t>(below(static_cast<int64_t>(content.size())));
  }
  std::optional<size_t> place_under_crc(const Buffer& content) {
    constexpr size_t kCrcAt = 17;
    std::vector<std::pair<size_t, size_t>> batches;
    for (size_t at = 0; at + protocol::BatchHeader::kSize <= content.size();) {
      const auto header = protocol::peek_batch_header(Bytes(content).subspan(at));
      if (!header || header->size_bytes() > content.size() - at) break;
      batches.emplace_back(at, header->size_bytes());
      at += header->size_bytes();
    }
    if (batches.empty()) return std::nullopt;
    const auto [at, size] = batches[static_cast<size_t>(below(static_cast<int64_t>(batches.size())))];
    return at + kCrcAt + static_cast<size_t>(below(static_cast<int64_t>(size - kCrcAt)));
  }
  void flip(const Damage& damage) {
    for (Buffer* content : {&files_.content(damage.path), &files_.on_disk(damage.path)}) {
      if (damage.position < content->size()) (*content)[damage.position] ^= damage.flipped;
    }
  }
  // Whether a log has found damage in synced data, which must then not be read.
  bool refuses_what_is_damaged() {
    bool refuses = false;
    for (size_t i = 0; i < kPartitions; ++i) {
      for (int64_t offset = log(i).log_start_offset(); offset < log(i).log_end_offset(); ++offset) {
        const DamagedRange* range = log(i).damages().covering(offset);
        if (range == nullptr) continue;
        refuses = true;
        const auto read = log(i).read(offset, log(i).log_end_offset(), 1, true);
        require(!read && read.error().code == ErrorCode::kCorruptMessage, "{} serves damaged offset {}",
                log(i).name(), offset);
      }
    }
    return refuses;
  }

  // What a person does: restores the file.
  void repair() {
    if (damage_->lost) {
      calm_ = true;
      (void)files_.open(damage_->path, OpenMode::kCreate);
      (void)files_.sync_directory(damage_->path.substr(0, damage_->path.rfind('/')));
      calm_ = false;
      files_.content(damage_->path) = files_.on_disk(damage_->path) = *damage_->lost;
    } else if (files_.has(damage_->path)) {
      flip(*damage_);
    }
    damage_.reset();
  }

  std::mt19937 random_;
  std::mt19937 forger_;  // its own, so that the other seeds' runs stay as they are
  std::mt19937 looter_;  // the same
  const bool forges_;
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
