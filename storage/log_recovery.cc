// The part of Log that opens it.
#include <fmt/format.h>

#include <algorithm>

#include "storage/forward_reader.h"
#include "storage/log.h"

namespace millrace::storage {
namespace {

using protocol::BatchHeader;

constexpr std::string_view kTemporarySuffix = ".tmp";
// Behind the name of a segment file: what recovery took out of the log and did not dare to remove.
constexpr std::string_view kCutSuffix = ".cut";
constexpr size_t kCopyChunkBytes = 1 << 20;
// Of what could be a batch, looked at whole.
constexpr int64_t kMaxCandidateBytes = int64_t{256} << 20;
constexpr size_t kMagicAt = 16;  // in a batch

// The space first: on a full disk what follows needs it. Their names stay, see Log::remove_deleted.
void empty_deleted(FileSystem& files, const LogTraces& traces) {
  for (const int64_t base_offset : traces.deleted) {
    const auto file =
        files.open(traces.path_of(base_offset) + std::string(Segment::kDeletedSuffix), OpenMode::kReadWrite);
    if (file) (void)(*file)->truncate(0);
  }
}

// Whether there is a sound batch anywhere behind `position`, of offsets from `lowest_offset` on. Rather yes
// than no: records may have been made to look like many batches.
Result<bool> has_sound_batch(const File& file, int64_t position, int64_t file_size, int64_t lowest_offset) {
  ForwardReader reader(file, file_size);
  int64_t candidate_bytes = 0;
  const OffsetChain chain(lowest_offset, std::nullopt, true);
  for (int64_t at = position + 1;;) {
    const auto window = reader.at(at, ForwardReader::kWindow);
    if (!window) return std::unexpected(window.error());
    if (window->size() < BatchHeader::kSize) return false;
    const size_t starts = window->size() - BatchHeader::kSize + 1;
    for (size_t i = 0; i < starts; ++i) {
      // First, because most bytes aren't.
      if ((*window)[i + kMagicAt] != static_cast<std::byte>(BatchHeader::kMagic)) continue;
      const auto header = protocol::peek_batch_header(window->subspan(i, BatchHeader::kSize));
      const int64_t found_at = at + static_cast<int64_t>(i);
      if (!header || !length_damage(*header, file_size - found_at).empty() || !chain.damage(*header).empty())
        continue;
      candidate_bytes += static_cast<int64_t>(header->size_bytes());
      if (candidate_bytes > kMaxCandidateBytes) return true;
      Buffer batch(header->size_bytes());
      const auto read = file.read_at(batch, found_at);
      if (!read) return std::unexpected(read.error());
      if (*read == batch.size() && protocol::crc_matches(batch)) return true;
    }
    at += static_cast<int64_t>(starts);
  }
}

}  // namespace

Result<std::unique_ptr<Log>> Log::open(FileSystem& files, OffsetIndex& index, LogOptions options,
                                       RecoveryReport* report) {
  RecoveryReport unread;
  std::unique_ptr<Log> log(new Log(files, index, std::move(options)));
  if (auto loaded = log->load(report == nullptr ? unread : *report); !loaded)
    return std::unexpected(loaded.error());
  return log;
}

Result<> Log::load(RecoveryReport& report) {
  const auto checkpoint = load_checkpoint(files_, options_.directory);
  if (!checkpoint && checkpoint.error().code != ErrorCode::kCorruptMessage)
    return std::unexpected(checkpoint.error());
  if (!checkpoint) {
    report.warnings.push_back(checkpoint.error().message + ": records that were deleted may be back");
  } else if (*checkpoint) {
    log_start_offset_ = (*checkpoint)->log_start_offset;
    checkpointed_recovery_point_ = (*checkpoint)->recovery_point;
    journal_floor_ = (*checkpoint)->journal_floor;
    if ((*checkpoint)->is_start_exact) checkpointed_start_ = log_start_offset_;
  }
  if (auto loaded = load_acceptance(report); !loaded) return loaded;
  // Without summaries everything is scanned.
  auto known = index_.summaries(options_.id);
  if (!known) report.notes.push_back(known.error().message);
  LogTraces traces;
  traces.directory = options_.directory;
  if (checkpoint) traces.checkpoint = *checkpoint;
  // A clean stop of a log with records has left one.
  const bool has_none = checkpoint && !*checkpoint;
  traces.never_checkpointed = has_none && !options_.clean_shutdown;
  traces.summaries = std::move(known).value_or(std::vector<SegmentSummary>{});
  traces.clean_shutdown = options_.clean_shutdown;
  if (auto found = find_segments(traces, report); !found) return found;
  const auto has_records = [](const FoundSegment& found) { return found.size > 0; };
  if (has_none && options_.clean_shutdown && std::ranges::any_of(traces.found, has_records)) {
    report.warnings.push_back(
        fmt::format("{}/{} is missing, although the log was closed: records that were deleted may be back",
                    options_.directory, LogCheckpoint::kFileName));
  }
  if (auto checked = check_segments(traces); !checked) return checked;
  empty_deleted(files_, traces);
  load_cleaner_checkpoint(report);
  if (auto loaded = load_segments(traces, report); !loaded) return loaded;
  if (auto forgotten = forget_stale_summaries(traces.summaries, traces.found); !forgotten) return forgotten;
  const int64_t end_offset = segments_.empty() ? log_start_offset_ : segments_.active().next_offset();
  if (auto checked = check_end(traces, end_offset); !checked) return checked;
  if (segments_.empty()) {
    if (auto added = add_segment(log_start_offset_, options_.now_ms); !added) return added;
    // Nothing would tell a start that the first segment is missing.
    if (!options_.is_new) {
      if (auto synced = files_.sync_directory(options_.directory); !synced) return synced;
    }
  }
  log_start_offset_ = std::max(log_start_offset_, segments_.oldest().base_offset());
  log_end_offset_ = segments_.active().next_offset();
  recovery_point_ = std::min(
      log_end_offset_, std::max(unsynced_from_.value_or(log_end_offset_), checkpointed_recovery_point_));
  // As mark_synced does.
  const bool is_new_checkpoint = checkpointed_recovery_point_ < segments_.active().base_offset() ||
                                 checkpointed_recovery_point_ > log_end_offset_;
  // The scan has synced what it read, but a killed process may have left a name that isn't on disk yet.
  if (unsynced_from_ && !is_new_checkpoint) {
    ++names_version_;
  } else if (report.bytes_scanned > 0) {
    if (auto synced = files_.sync_directory(options_.directory); !synced) return synced;
  }
  if (is_new_checkpoint) {
    if (auto stored = store_checkpoint(); !stored) return stored;
  }
  if (auto loaded = load_epochs(report); !loaded) return loaded;
  if (auto loaded = load_producers(options_.now_ms, report.batches_replayed); !loaded) return loaded;
  if (auto applied = apply_journal(report); !applied) return applied;
  options_.journaled = {};
  staged_end_ = recovery_point_;
  if (auto renewed = renew_journal_floor(); !renewed) return renewed;
  if (auto ended = end_acceptance(); !ended) return ended;
  if (auto removed = remove_deleted(traces); !removed) return removed;
  if (log_start_offset_ > log_end_offset_) {
    report.notes.push_back(fmt::format("{} ended at offset {}, below its start {}: begun anew there", name_,
                                       log_end_offset_, log_start_offset_));
    if (auto begun = truncate_fully_and_start_at(log_start_offset_, options_.now_ms); !begun) return begun;
  } else {
    epochs_.truncate_from_start(log_start_offset_);
  }
  // Not before: what is staged in it belongs to the shard's thread, which this isn't.
  journal_ = options_.journal;
  return {};
}

Result<> Log::load_segments(const LogTraces& traces, RecoveryReport& report) {
  bool cut = false;
  for (size_t i = 0; i < traces.found.size() && !cut; ++i) {
    const std::optional<int64_t> next_base =
        i + 1 == traces.found.size() ? std::nullopt : std::optional(traces.found[i + 1].base_offset);
    const FoundSegment& found = traces.found[i];
    if (is_merged_away(found)) {
      if (auto dropped = drop_leftover(found, report); !dropped) return dropped;
      continue;
    }
    if (is_stray(found)) {
      if (auto dropped = mark_deleted(path_of(found), options_.now_ms); !dropped) return dropped;
      continue;
    }
    const int64_t end_offset = segments_.empty() ? found.base_offset : segments_.active().next_offset();
    const Hole hole = hole_before(traces, found, end_offset);
    if (hole == Hole::kUnsynced) {
      if (auto joined = check_journal_joins(end_offset); !joined) return joined;
      report.notes.push_back(fmt::format("{} ends at offset {}, but the next segment begins at {}",
                                         segments_.active().path(), end_offset, found.base_offset));
      return set_aside_beyond(segments_.active().base_offset(), report);
    }
    if (hole == Hole::kDeleted) {
      if (auto finished = finish_retention(found.base_offset, report); !finished) return finished;
    }
    // What is damaged is known to be missing.
    if (hole == Hole::kLost && damages_.covering(end_offset) == nullptr) {
      if (!loss_accepted_) return loss(lost_between(traces, found, end_offset).text());
      if (auto bridged = bridge(end_offset, found.base_offset, report); !bridged) return bridged;
    }
    if (auto loaded = load_segment(found, next_base, traces.summaries, report, cut); !loaded) return loaded;
  }
  return {};
}

// Appends what the journal has behind the log's end.
Result<> Log::apply_journal(RecoveryReport& report) {
  if (auto joined = check_journal_joins(log_end_offset_); !joined) return joined;
  for (const JournaledBatch& journaled : options_.journaled) {
    if (journaled.position < journal_floor_ || journaled.log_end_offset < log_end_offset_) continue;
    const auto batch = read_journaled(journaled);
    if (!batch) return std::unexpected(batch.error());
    const auto header = protocol::read_batch_header(*batch);
    if (!header) return std::unexpected(header.error());
    if (auto assigned = epochs_.assign(header->partition_leader_epoch, header->base_offset); !assigned)
      return assigned;
    if (auto written = write(*header, *batch, options_.now_ms, Source::kJournal); !written) return written;
    ++report.batches_restored;
  }
  if (report.batches_restored == 0) return {};
  if (const auto written = segments_.active().file(); !written) return std::unexpected(written.error());
  report.notes.push_back(fmt::format("{} batches restored from the journal, up to offset {}",
                                     report.batches_restored, log_end_offset_));
  return options_.syncs_later ? Result<>() : flush();
}

// Runs ascend only as far as the journal's files tell. One that left nothing there may have left a floor
// here, under which the batches of a later run must not fall.
Result<> Log::renew_journal_floor() {
  if (options_.journal == nullptr || journal_floor_ < options_.journal->next_position()) return {};
  journal_floor_ = options_.journal->next_position();
  return store_checkpoint();
}

// Summaries of segments that aren't there, or are shorter than that. The index must have forgotten them for
// good before a segment grows to that size again.
Result<> Log::forget_stale_summaries(const std::vector<SegmentSummary>& summaries,
                                     const std::vector<FoundSegment>& found) {
  bool is_stale = false;
  for (const SegmentSummary& summary : summaries) {
    const auto segment = std::find_if(found.begin(), found.end(), [&](const FoundSegment& candidate) {
      return candidate.base_offset == summary.base_offset;
    });
    if (segment == found.end()) (void)index_.remove_segment({options_.id, summary.base_offset});
    if (segment == found.end() || (summary.synced && summary.size > segment->size)) is_stale = true;
  }
  return is_stale ? index_.flush() : Result<>();
}

// The index must not miss a segment that was meant to go once nothing tells that any more.
Result<> Log::forget_deleted(const std::vector<DirectoryEntry>& entries,
                             std::vector<SegmentSummary>& summaries) {
  const size_t before = summaries.size();
  for (const DirectoryEntry& entry : entries) {
    const auto base = Segment::deleted_base_offset_of(entry.name);
    if (base && std::erase_if(summaries, [&](const auto& known) { return known.base_offset == *base; }) > 0)
      (void)index_.remove_segment({options_.id, *base});
  }
  return summaries.size() < before ? index_.flush() : Result<>();
}

// Whether an empty segment isn't where the log goes on: what a roll left that failed, or a file of somebody
// else's. Below the recovery point a compaction may have emptied what was before it.
bool Log::is_stray(const FoundSegment& found) const {
  if (found.size > 0 || segments_.empty()) return false;
  const int64_t end_offset = segments_.active().next_offset();
  return end_offset > found.base_offset ||
         (end_offset < found.base_offset && found.base_offset > checkpointed_recovery_point_);
}

// The segment files in order, and what an earlier life meant to remove.
Result<> Log::find_segments(LogTraces& traces, RecoveryReport& report) {
  const auto entries = files_.list(options_.directory);
  if (!entries) return std::unexpected(entries.error());
  if (auto forgotten = forget_deleted(*entries, traces.summaries); !forgotten) return forgotten;
  for (const DirectoryEntry& entry : *entries) {
    const std::string path = options_.directory + "/" + entry.name;
    if (const auto deleted = Segment::deleted_base_offset_of(entry.name)) {
      traces.deleted.push_back(*deleted);
      continue;
    }
    if (entry.name.ends_with(Segment::kDeletedSuffix) || entry.name.ends_with(kTemporarySuffix) ||
        entry.name.ends_with(CompactedSegment::kSuffix)) {
      if (auto removed = files_.remove(path); !removed) return removed;
      continue;
    }
    const auto base_offset = Segment::base_offset_of(entry.name);
    if (!base_offset) {
      if (entry.name.ends_with(Segment::kSuffix))
        report.notes.push_back(path + " has no offset as its name: left alone");
      continue;
    }
    const auto status = files_.status(path);
    if (!status) return std::unexpected(status.error());
    traces.found.push_back({*base_offset, status->size});
  }
  std::ranges::sort(traces.found, {}, &FoundSegment::base_offset);
  return {};
}

// Has removed the segments before `start_offset` halfway: it takes the oldest ones first.
Result<> Log::finish_retention(int64_t start_offset, RecoveryReport& report) {
  report.notes.push_back(fmt::format("{} had its segments before offset {} being deleted: the others go, too",
                                     name_, start_offset));
  while (!segments_.empty()) {
    if (auto dropped = drop_file(segments_.take_oldest(), options_.now_ms); !dropped) return dropped;
  }
  log_start_offset_ = std::max(log_start_offset_, start_offset);
  damages_.forget_below(log_start_offset_);
  return {};
}

// Of segments that were deleted before this start. Their names tell that nothing is lost, until the
// checkpoint does.
Result<> Log::remove_deleted(const LogTraces& traces) {
  std::vector<std::string> paths;
  for (const int64_t base_offset : traces.deleted) {
    std::string path = traces.path_of(base_offset) + std::string(Segment::kDeletedSuffix);
    const bool is_new = std::ranges::find(deleted_files_, path, &DeletedFile::path) != deleted_files_.end();
    if (!is_new) paths.push_back(std::move(path));
  }
  const DueFiles due = due_files(std::move(paths));
  if (auto removed = due.remove(files_); !removed) return removed;
  if (due.file) checkpointed_start_ = log_start_offset_;
  return {};
}

std::string Log::path_of(const FoundSegment& found) const {
  return options_.directory + "/" + Segment::file_name(found.base_offset);
}

Result<> Log::load_segment(const FoundSegment& found, std::optional<int64_t> next_base,
                           const std::vector<SegmentSummary>& summaries, RecoveryReport& report, bool& cut) {
  if (!segments_.empty() && segments_.active().next_offset() > found.base_offset) {
    return fail(ErrorCode::kKafkaStorageError,
                fmt::format("{} begins within {}, which ends at offset {}: move one of them away",
                            Segment::file_name(found.base_offset), segments_.active().path(),
                            segments_.active().next_offset()));
  }
  auto segment = std::make_unique<Segment>(files_, index_, SegmentKey{options_.id, found.base_offset},
                                           path_of(found), options_.now_ms);
  const auto summary = std::find_if(summaries.begin(), summaries.end(), [&](const SegmentSummary& s) {
    return s.base_offset == found.base_offset;
  });
  const bool has_summary = summary != summaries.end();
  const bool covers_all = has_summary && summary->size == found.size;
  // Of a file that was being written when the broker was killed. Any other of another size is another file: a
  // segment, for one, that was put back where its loss had been accepted.
  const bool covers_beginning = has_summary && summary->size < found.size && !options_.clean_shutdown &&
                                (!next_base || summary->next_offset < *next_base);
  // Data that wasn't synced when the index said so last may be lost, unless all of it was closed in order.
  const bool is_believed =
      (covers_all && (summary->synced || options_.clean_shutdown)) || (covers_beginning && summary->synced);
  const bool is_another_file = has_summary && summary->size < found.size && !covers_beginning;
  // Of what a killed broker appended, and held back, the index may know more than the file has.
  const bool may_be_held_back = !next_base && !options_.clean_shutdown;
  if (is_believed) segment->adopt(*summary, !covers_all || may_be_held_back);
  if (is_believed && covers_all) {
    ++report.segments_covered;
  } else {
    const size_t damages_before = damages_.count();
    if (auto scanned = scan(*segment, found.size, next_base, report, cut); !scanned) return scanned;
    // Else a start after a power loss might believe it for the beginning of the file.
    if (is_another_file) (void)index_.flush();
    if (next_base && !cut) {
      // One that is damaged is looked at again at each start: it may have been restored.
      if (damages_.count() == damages_before) segment->seal(true);
      segment->release_file();
    }
  }
  segments_.add(std::move(segment));
  return {};
}

// Reads what of a segment the index doesn't cover, ends it before the first damage, and syncs it.
Result<> Log::scan(Segment& segment, int64_t file_size, std::optional<int64_t> next_base,
                   RecoveryReport& report, bool& cut) {
  const bool is_last = !next_base;
  auto file = segment.file();
  if (!file) return std::unexpected(file.error());
  const int64_t from = segment.size();
  if (from == 0) segment.forget_batches();
  const int64_t found_from = segment.next_offset();
  const auto note = [&](const BatchHeader& header) {
    segment.note_batch(header, options_.config.index_interval_bytes);
  };
  const OffsetChain chain(segment.next_offset(), next_base, may_have_holes_);
  auto scanned = scan_and_mend(segment, **file, from, chain, note, report);
  if (!scanned) return std::unexpected(scanned.error());
  ++report.segments_scanned;
  report.bytes_scanned += file_size - from;
  const bool was_synced = options_.clean_shutdown || segment.next_offset() < checkpointed_recovery_point_;
  if (!scanned->damage.empty() && was_synced && !(is_last && loss_accepted_)) {
    scanned = scan_past_damage(segment, **file, file_size, next_base, std::move(*scanned), report);
    if (!scanned) return std::unexpected(scanned.error());
  }
  if (!scanned->damage.empty()) {
    if (auto joined = check_journal_joins(segment.next_offset()); !joined) return joined;
    cut = true;
    bool keeps_tail = !is_last || was_synced;
    if (!keeps_tail) {
      const auto is_torn = is_torn_tail(**file, *scanned, file_size, segment.next_offset());
      if (!is_torn) return std::unexpected(is_torn.error());
      keeps_tail = !*is_torn;
    }
    if (keeps_tail) {
      if (auto kept = keep_tail(**file, scanned->valid_bytes, file_size); !kept) return kept;
    }
    if (auto shortened = (*file)->truncate(scanned->valid_bytes); !shortened) return shortened;
    report.cuts.push_back({segment.path(), scanned->valid_bytes, file_size - scanned->valid_bytes,
                           scanned->damage, keeps_tail});
    if (!is_last) {
      if (auto removed = set_aside_beyond(segment.base_offset(), report); !removed) return removed;
    }
  }
  // The name of an empty one may not be on disk yet; it is synced with the first batch.
  if (file_size == 0) ++names_version_;
  // What was only in the page cache may be read from now on, so it must not vanish any more. Nor may what a
  // killed process has cut off come back under what is to be appended, if it was all of the file.
  if (options_.syncs_later && is_last && !cut && file_size > 0) {
    unsynced_from_ = found_from;
    return {};
  }
  return (*file)->sync_data();
}

// Puts a base offset right where nothing else of its batch is wrong, and the batches around it prove what it
// was: everything behind it would be lost with it.
Result<ScanResult> Log::scan_and_mend(Segment& segment, File& file, int64_t position, OffsetChain chain,
                                      const std::function<void(const BatchHeader&)>& visit,
                                      RecoveryReport& report) {
  while (true) {
    auto scanned = scan_segment(file, position, chain, visit);
    if (!scanned || !scanned->is_misplaced) return scanned;
    position = scanned->valid_bytes;
    const int64_t due = segment.next_offset();
    chain = OffsetChain(due, chain.end(), may_have_holes_);
    Buffer base_offset(sizeof(due));
    protocol::set_base_offset(base_offset, due);
    const Bytes piece(base_offset);
    if (auto written = file.write_at(std::span(&piece, 1), position); !written)
      return std::unexpected(written.error());
    report.notes.push_back(fmt::format(
        "{} at byte {}: {}; it is that by its contents and the batches around it, and was put right",
        file.path(), position, scanned->damage));
  }
}

// Goes on behind damage in data that had been synced, as far as it can be told where the next batch begins;
// in the last segment only where nobody reads any more, before the log's start: elsewhere that is an error,
// since records are to be appended behind it, and somebody has to say what is to become of it. Nothing is
// cut: offsets that aren't found are known to be damaged from now on. Damage that the result tells lies in
// data that was never known to be synced.
Result<ScanResult> Log::scan_past_damage(Segment& segment, File& file, int64_t file_size,
                                         std::optional<int64_t> next_base, ScanResult scanned,
                                         RecoveryReport& report) {
  const int64_t limit = next_base.value_or(log_start_offset_);
  DamagedRange range;
  const auto close = [&](int64_t end_offset) {
    if (range.file.empty()) return;
    range.end_offset = end_offset;
    if (range.first_offset >= end_offset) {
      report.notes.push_back(
          fmt::format("{} has {} bytes behind its last batch, from byte {} on, that belong "
                      "to none: left alone, no record is missing",
                      range.file, file_size - range.position, range.position));
    } else if (damages_.add(range)) {
      report.damages.push_back(range);
    }
    range = {};
  };
  while (!scanned.damage.empty() && segment.next_offset() < checkpointed_recovery_point_) {
    if (range.file.empty())
      range = {segment.next_offset(), 0, file.path(), scanned.valid_bytes, scanned.damage};
    BatchCursor cursor(file, scanned.valid_bytes, file_size);
    const auto at = cursor.next();
    OffsetChain chain(segment.next_offset(), next_base, true);
    chain.limit_to(limit);
    if (!at || !*at || !chain.damage((*at)->header).empty()) {
      if (!next_base) {
        return loss(fmt::format(
            "{} is damaged at byte {} (offset {}), although it was synced up to offset {}: {}", file.path(),
            scanned.valid_bytes, segment.next_offset(), checkpointed_recovery_point_, scanned.damage));
      }
      scanned.damage.clear();
      break;
    }
    // It keeps its place among the batches; nothing else of it counts.
    BatchHeader header = (*at)->header;
    header.max_timestamp_ms = segment.max_timestamp_ms();
    segment.note_batch(header, options_.config.index_interval_bytes);
    const auto note_sound = [&](const BatchHeader& sound) {
      close(sound.base_offset);
      segment.note_batch(sound, options_.config.index_interval_bytes);
    };
    chain = OffsetChain(segment.next_offset(), next_base, may_have_holes_);
    chain.skip();
    auto rest = scan_and_mend(segment, file, cursor.position(), chain, note_sound, report);
    if (!rest) return rest;
    scanned = std::move(*rest);
  }
  // What follows damage that was never synced is cut.
  close(scanned.damage.empty() && next_base ? *next_base : segment.next_offset());
  damages_.forget_below(log_start_offset_);
  return scanned;
}

// Whether what is damaged of a file, behind offset `end_offset`, holds no batch but those that the journal
// restores.
Result<bool> Log::is_torn_tail(const File& file, const ScanResult& scanned, int64_t file_size,
                               int64_t end_offset) const {
  int64_t restored_end = end_offset;
  for (const JournaledBatch& journaled : options_.journaled) {
    if (journaled.position >= journal_floor_) restored_end = std::max(restored_end, journaled.next_offset);
  }
  if (scanned.has_sound_contents && restored_end == end_offset) return false;
  const auto has_batch = has_sound_batch(file, scanned.valid_bytes, file_size, restored_end);
  return has_batch ? Result<bool>(!*has_batch) : has_batch;
}

// Copies what is about to be cut off where it may have been more than a torn tail.
Result<> Log::keep_tail(const File& file, int64_t from, int64_t to) const {
  auto copy = files_.open(file.path() + std::string(kCutSuffix), OpenMode::kCreate);
  if (!copy) return std::unexpected(copy.error());
  Buffer chunk(kCopyChunkBytes);
  for (int64_t at = from; at < to;) {
    const auto read = file.read_at(chunk, at);
    if (!read) return std::unexpected(read.error());
    if (*read == 0) break;
    const Bytes piece(chunk.data(), *read);
    if (auto written = (*copy)->write_at(std::span(&piece, 1), at - from); !written) return written;
    at += static_cast<int64_t>(*read);
  }
  // One of an earlier start may have been longer.
  if (auto ended = (*copy)->truncate(to - from); !ended) return ended;
  if (auto synced = (*copy)->sync_data(); !synced) return synced;
  return files_.sync_directory(options_.directory);
}

// Takes the segments behind a damaged one out of the log, where they would leave a hole. They are kept under
// another name, since a person may want what is sound in them.
Result<> Log::set_aside_beyond(int64_t base_offset, RecoveryReport& report) {
  const auto entries = files_.list(options_.directory);
  if (!entries) return std::unexpected(entries.error());
  for (const DirectoryEntry& entry : *entries) {
    const auto base = Segment::base_offset_of(entry.name);
    if (!base || *base <= base_offset) continue;
    const std::string path = options_.directory + "/" + entry.name;
    const auto status = files_.status(path);
    if (!status) return std::unexpected(status.error());
    if (auto moved = files_.rename(path, path + std::string(kCutSuffix)); !moved) return moved;
    (void)index_.remove_segment({options_.id, *base});
    report.cuts.push_back({path, 0, status->size, "it follows a damaged or missing segment", true});
  }
  (void)index_.flush();
  return files_.sync_directory(options_.directory);
}

// Epochs beyond the checkpoint are in the batches that were scanned; without a checkpoint all batches are
// asked.
Result<> Log::load_epochs(RecoveryReport& report) {
  const bool missing = epochs_.entries().empty() && log_end_offset_ > log_start_offset_;
  if (missing || !epochs_.load_problem().empty()) {
    std::vector<EpochEntry> entries;
    for (size_t i = 0; i < segments_.count(); ++i) {
      const auto file = segments_.file(i, recovery_point_);
      if (!file) return std::unexpected(file.error());
      BatchCursor cursor(**file, 0, segments_.at(i).size());
      while (true) {
        const auto batch = cursor.next();
        if (!batch) return std::unexpected(batch.error());
        if (!*batch) break;
        const int32_t epoch = (*batch)->header.partition_leader_epoch;
        if (epoch >= 0 && (entries.empty() || epoch > entries.back().epoch)) {
          entries.push_back({epoch, (*batch)->header.base_offset});
        }
      }
    }
    if (!entries.empty()) {
      report.notes.push_back(fmt::format("{}: leader epochs rebuilt from the batches{}{}", name_,
                                         epochs_.load_problem().empty() ? "" : ", since ",
                                         epochs_.load_problem()));
    }
    if (auto rebuilt = epochs_.rebuild(std::move(entries)); !rebuilt) return rebuilt;
  }
  // One that begins at the end has no records yet, and is right.
  return epochs_.truncate_from_end(log_end_offset_ + 1);
}

// From the latest snapshot that is of this log, and the batches behind it.
Result<> Log::load_producers(int64_t now_ms, int64_t& batches) {
  producers_.reset(log_start_offset_);
  // Without the index more is replayed.
  const auto found = index_.producers(options_.id);
  const auto stored = found.value_or(std::vector<OffsetIndex::ProducerSnapshot>());
  snapshots_.clear();
  for (const auto& snapshot : stored) snapshots_.insert(snapshots_.begin(), snapshot.offset);
  bool is_stale = false;
  for (const auto& snapshot : stored) {
    if (producers_.restore(snapshot.bytes, log_start_offset_, log_end_offset_, now_ms)) break;
    is_stale = true;
  }
  const int64_t from_offset = producers_.end_offset();
  for (size_t i = segments_.floor(from_offset); i < segments_.count(); ++i) {
    const Segment& segment = segments_.at(i);
    if (segment.next_offset() <= from_offset) continue;
    const auto file = segments_.file(i, recovery_point_);
    if (!file) return std::unexpected(file.error());
    BatchCursor cursor(**file, segment.floor_offset(from_offset).position, segment.size());
    while (true) {
      const auto batch = cursor.next();
      if (!batch) return std::unexpected(batch.error());
      if (!*batch) break;
      if ((*batch)->header.last_offset() < from_offset) continue;
      producers_.append((*batch)->header, now_ms);
      ++batches;
    }
  }
  // Those that can't be read now may be of another history when they can be again.
  if (!found) (void)replace_producers();
  return is_stale ? replace_producers() : Result<>();
}

// A snapshot of records that a power loss took back must be gone for good before the log has other records at
// their offsets, by which it would seem to be of this log.
Result<> Log::replace_producers() {
  if (auto removed = index_.remove_producers(options_.id); !removed) return removed;
  snapshots_.clear();
  store_producers(producers_.end_offset(), producers_.snapshot());
  return index_.flush();
}

}  // namespace millrace::storage
