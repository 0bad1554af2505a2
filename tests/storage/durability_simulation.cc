// Lives, operations and their faults. What is planted and damaged is in durability_damage.cc.
#include "tests/storage/durability_simulation.h"

#include <algorithm>
#include <array>

namespace millrace::storage::test {

DurabilitySimulation::DurabilitySimulation(uint32_t seed, Plant plant)
    : random_(seed),
      forger_(seed + 2),
      looter_(seed + 3),
      misplacer_(seed + 4),
      forges_(plant == Plant::kKnownSalt || (plant == Plant::kNone && seed % 5 == 4)),
      misplaces_(seed % 7 == 3),
      plant_(plant),
      shard_(files_, plant, seed % 3 == 0 ? kSmallGroupBytes : kJournalMaxGroupBytes) {
  files_.random.seed(seed + 1);
  files_.judge = [this](Operation operation, const std::string& path) { return judge(operation, path); };
  // Planted faults are to be noticed by what is lost, not hidden behind others.
  has_trouble_ = (plant == Plant::kNone && chance(40)) || plant == Plant::kNothingAside;
  has_damage_ = plant == Plant::kNone && !has_trouble_ && chance(20);
  name_order_ = chance(30) ? FaultFileSystem::NameOrder::kArbitrary : FaultFileSystem::NameOrder::kKept;
  files_.forgets_reserved = plant == Plant::kNothingAside;
  files_.can_reserve = seed % 11 != 5;
  make_partitions();
}

void DurabilitySimulation::run() {
  bool clean = false;
  auto after = PartitionModel::After::kNothing;
  for (int life = 0; life < kLives; ++life) {
    after = start(clean, after);
    verify(after);
    clean = live();
    if (clean) inspect(true);
    after = clean ? PartitionModel::After::kKill : PartitionModel::After::kNothing;
    if (!clean) after = end_life();
    // A clean stop leaves nothing that a power loss could take.
    if (clean && chance(30)) {
      lose_power();
      after = PartitionModel::After::kPowerLoss;
    }
  }
}

void DurabilitySimulation::make_partitions() {
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
    const std::string told = fmt::format("version: 0\ntopic_id: {}\n", options.id.topic_id.to_string());
    const Bytes pieces[] = {as_bytes(told)};
    (void)(*files_.open(options.directory + "/partition.metadata", OpenMode::kCreate))->write_at(pieces, 0);
    models_.emplace_back(options.topic, config.compact);
    next_values_.push_back(0);
  }
  (void)files_.sync_all("/data");
}

void DurabilitySimulation::count(const std::string& what) {
  ++counts_.done[what];
  if (trace) trace(what);
}

void DurabilitySimulation::tell(size_t i, const char* what) {
  if (trace)
    trace(fmt::format("  {}: {} {} to {}, recovery point {}, acknowledged {}", log(i).name(), what,
                      log(i).log_start_offset(), log(i).log_end_offset(), log(i).recovery_point(),
                      model(i).acknowledged_end()));
}

Verdict DurabilitySimulation::judge(Operation operation, const std::string& path) {
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
  if (plant_ == Plant::kUnwrittenHeld && operation == Operation::kWriteAside &&
      path.ends_with(Segment::kSuffix) && chance(10)) {
    return Verdict::kSwallow;
  }
  return troubled(operation);
}

Verdict DurabilitySimulation::troubled(Operation operation) {
  const bool grows =
      operation == Operation::kWrite || operation == Operation::kCreate || operation == Operation::kReserve;
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
    case Operation::kWriteAside:
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

PartitionModel::After DurabilitySimulation::end_life() {
  sync_failed_ = false;
  if (!crashed_) count("crash between operations");
  end_trouble();
  for (size_t i = 0; i < kPartitions; ++i) {
    const SimulatedPartition& partition = shard_.partitions()[i];
    if (partition.log) model(i).end_life(partition.log->written_end_offset());
  }
  shard_.die(chance(10));
  if (chance(40)) {
    count("kill");
    return After::kKill;
  }
  lose_power();
  return After::kPowerLoss;
}

void DurabilitySimulation::lose_power() {
  count("power loss");
  files_.lose_power(name_order_);
  if (plant_ == Plant::kUncheckedCrc) hide_damage();
}

PartitionModel::After DurabilitySimulation::start(bool clean, After after) {
  if (after != After::kNothing && !clean && has_damage_ && chance(50)) damage_ = damage_something();
  const bool is_damaged = damage_.has_value();
  while (true) {
    crashed_ = false;
    operations_left_ = chance(30) ? 1 + below(30) : 0;
    disk_fails_ = has_trouble_ && chance(10);
    disk_full_ = has_trouble_ && chance(10);
    const auto opened = shard_.open(clean);
    const bool lacks_segment = damage_ && damage_->lost && !damage_->lost->empty();
    const bool refuses_range = !crashed_ && opened && damage_ && refuses_what_is_damaged();
    // A batch below the log's start may have been damaged before, which a start leaves alone. What such a
    // batch says of its end isn't believed, so what is gone behind it is taken for a part of the damage.
    require(crashed_ || !opened || !lacks_segment || (refuses_range && names_as_damaged(damage_->path)),
            "starts without all of {}", lacks_segment ? damage_->path : "");
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

void DurabilitySimulation::verify(After after) {
  calm_ = true;
  damage_.reset();
  for (size_t i = 0; i < kPartitions; ++i) {
    tell(i, "opened");
    model(i).check(log(i), after);
  }
  inspect(false);
  for (size_t i = 0; i < kPartitions; ++i) retry_last(i);
  calm_ = false;
}

void DurabilitySimulation::inspect(bool clean) {
  if (has_damage_ || forges_ || misplaces_) return;
  calm_ = true;
  // A power loss may take a segment's name and leave what the index has of it, for the next one of that name.
  const OffsetIndex* const index = counts_.done.contains("power loss") ? nullptr : &shard_.index();
  for (const SimulatedPartition& partition : shard_.partitions()) {
    const auto report =
        inspect_partition(files_, partition.options.directory, index, {.clean_shutdown = clean});
    require(report.has_value(), "can't be inspected: {}", report ? "" : report.error().message);
    for (const storage::Damage& damage : report->damages)
      require(false, "{} is called damaged at byte {}, offset {}: {}", damage.file, damage.position,
              damage.offset, damage.what);
    if (clean) counts_.done["inspected, index entries"] += report->index_entries;
  }
  calm_ = false;
}

bool DurabilitySimulation::live() {
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
    std::array<int64_t, kPartitions> ends{};
    for (size_t i = 0; i < kPartitions; ++i) ends[i] = log(i).log_end_offset();
    must_do(shard_.close(now_ms()), "clean stop");
    for (size_t i = 0; i < kPartitions; ++i) model(i).acknowledge(ends[i]);
    shard_.die(false);
    return true;
  } catch (const Stop&) {
    return false;
  }
}

void DurabilitySimulation::step() {
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

size_t DurabilitySimulation::any_plain() {
  constexpr std::array kPlainOnes{kPlain, kRetained, kRelaxed, kLarge};
  return kPlainOnes[static_cast<size_t>(below(kPlainOnes.size()))];
}

void DurabilitySimulation::change_trouble() {
  if (in_trouble()) {
    if (!chance(10)) return;
    end_trouble();
    count("trouble ends");
    return;
  }
  if (!chance(4)) return;
  (chance(50) ? disk_full_ : disk_fails_) = true;
}

Buffer DurabilitySimulation::make_batch(size_t i) {
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
    value.resize(is_huge ? size_t{300} << 10 : static_cast<size_t>(10 + below(chance(10) ? 300 : 120)), 'x');
    std::optional<Bytes> bytes;
    if (i != kCompacted || !chance(15)) bytes = as_bytes(value);
    builder.append(as_bytes(key), bytes, {}, now_ms());
  }
  auto batch = builder.build();
  require(batch.has_value(), "a batch that can't be built");
  return std::move(*batch);
}

Buffer DurabilitySimulation::make_forging_batch() {
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

void DurabilitySimulation::forge() {
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

void DurabilitySimulation::append(size_t i) {
  if (log(i).is_offline()) return;
  if (chance(3)) ++leader_epoch_;
  append(i, make_batch(i));
}

void DurabilitySimulation::append(size_t i, Buffer batch) {
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

Buffer DurabilitySimulation::stamped(Buffer batch, int64_t base_offset) const {
  protocol::set_base_offset(batch, base_offset);
  protocol::set_partition_leader_epoch(batch, leader_epoch_);
  return batch;
}

void DurabilitySimulation::retry_last(size_t i) {
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

// What was taken has its space: nothing but new records may be refused.
void DurabilitySimulation::check_full_disk(const Result<>& done, const char* what) const {
  require(done || crashed_ || disk_fails_, "a full disk keeps the shard from a {}: {}", what,
          done ? "" : done.error().message);
}

void DurabilitySimulation::commit() {
  if (!shard_.is_committing()) {
    std::vector<size_t> members;
    for (size_t i = 0; i < kPartitions; ++i) {
      if (log(i).is_offline()) continue;
      if (log(i).log_end_offset() > model(i).acknowledged_end() && (i != kRelaxed || chance(10)))
        members.push_back(i);
    }
    const auto begun = shard_.begin_commit(members);
    check_full_disk(begun, "commit");
    must_do(begun, "commit begun");
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

void DurabilitySimulation::checkpoint() {
  if (!shard_.is_checkpointing()) {
    const auto begun = shard_.begin_checkpoint(chance(30));
    check_full_disk(begun, "checkpoint");
    return must_do(begun, "checkpoint begun");
  }
  const auto more = shard_.continue_checkpoint();
  must_do(more, "checkpoint step");
  if (*more) return;
  shard_.finish_checkpoint();
  if (crashed_ || sync_failed_) throw Stop{};
  count("checkpoint");
}

void DurabilitySimulation::finish_rounds() {
  while (shard_.is_committing()) commit();
  while (shard_.is_checkpointing()) checkpoint();
}

void DurabilitySimulation::add_journal_file() {
  if (shard_.wants_journal_file()) (void)did(shard_.add_journal_file(), "journal file");
}

void DurabilitySimulation::clean() {
  const auto cleaned = shard_.clean(kCompacted, now_ms(), model(kCompacted).acknowledged_end());
  (void)did(cleaned, "compaction step");
}

void DurabilitySimulation::retain(size_t i) {
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

bool DurabilitySimulation::sync_names(size_t i) {
  const DirtyNames names = log(i).dirty_names();
  if (names.directory.empty()) return true;
  if (!did(files_.sync_directory(names.directory), "sync of names")) return false;
  log(i).mark_names_synced(names);
  return true;
}

void DurabilitySimulation::delete_records(size_t i) {
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

void DurabilitySimulation::truncate(size_t i) {
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

void DurabilitySimulation::roll(size_t i) {
  if (log(i).is_offline()) return;
  (void)did(log(i).roll(now_ms()), "roll");
  tell(i, "rolled");
}

}  // namespace millrace::storage::test
