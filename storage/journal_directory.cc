#include "storage/journal_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "protocol/record_batch.h"
#include "storage/aligned_buffer.h"
#include "storage/journal_growth.h"

namespace millrace::storage {
namespace {

constexpr size_t kNameDigits = 8;
constexpr size_t kFillBytes = size_t{1} << 20;
constexpr size_t kWindowBytes = size_t{1} << 20;

std::string file_name(uint64_t number) {
  return fmt::format("{:0{}}{}", number, kNameDigits, JournalDirectory::kSuffix);
}

std::optional<uint64_t> number_of(std::string_view name) {
  if (!name.ends_with(JournalDirectory::kSuffix)) return std::nullopt;
  name.remove_suffix(JournalDirectory::kSuffix.size());
  uint64_t number = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
  if (name.empty() || parsed.ec != std::errc() || parsed.ptr != name.data() + name.size())
    return std::nullopt;
  return number;
}

// Of what is free only the last file is removed: a number that is missing tells a start that a file is.
bool is_last(const std::string& path, uint64_t last_file) {
  return number_of(path.substr(path.rfind('/') + 1)) == last_file;
}

// Writes zeros from `size` on. Past the page cache (`file` is open for durable writes), where they would cost
// as much CPU as records do, and durable piece by piece: a sync of the whole file would keep the groups that
// are written meanwhile waiting for as long.
Result<> fill(File& file, int64_t size, int64_t file_bytes) {
  // Never written to, so that it takes no memory. Direct writes need it aligned.
  alignas(kJournalBlockBytes) static std::array<std::byte, kFillBytes> zeros;
  for (int64_t at = size / kJournalBlockBytes * kJournalBlockBytes; at < file_bytes;) {
    const auto bytes = std::min<int64_t>(kFillBytes, file_bytes - at);
    const Bytes pieces[] = {Bytes(zeros).first(static_cast<size_t>(bytes))};
    if (auto written = file.write_at(pieces, at); !written) return written;
    at += bytes;
  }
  return {};
}

}  // namespace

Result<Buffer> read_journaled(const JournaledBatch& batch) {
  const File& file = *batch.slice.file;
  Buffer bytes(batch.slice.size);
  const auto read = file.read_at(bytes, batch.slice.position);
  if (!read) return std::unexpected(read.error());
  const auto header = protocol::peek_batch_header(bytes);
  if (*read < bytes.size() || !header || header->size_bytes() != bytes.size() ||
      header->last_offset() + 1 != batch.next_offset || header->crc != batch.crc ||
      !protocol::crc_matches(bytes)) {
    return fail(
        ErrorCode::kKafkaStorageError,
        fmt::format("{} had a sound record batch at byte {} when this start began to read it, and has none "
                    "there now: either somebody else writes to it, or the disk is failing. Check both, "
                    "and start again",
                    file.path(), batch.slice.position));
  }
  return bytes;
}

// The file that is read, a piece at a time and past the page cache: nobody reads it again, and memory that
// wasn't used before costs a start more time than the disk does. Only whole blocks, as such reads need it; in
// less there is no group.
class JournalDirectory::FileWindow final : public JournalFileBytes {
 public:
  // Up to `end`, where the file may have grown.
  Result<> open(FileSystem& files, const std::string& path, int64_t end) {
    auto file = files.open(path, OpenMode::kDurable);
    // Who may only read can't write either, as `log verify` on a copy.
    if (!file) file = files.open(path, OpenMode::kRead);
    if (!file) return std::unexpected(file.error());
    const auto size = (*file)->size();
    if (!size) return std::unexpected(size.error());
    file_ = std::move(*file);
    size_ = std::min(*size, end) / kBlock * kBlock;
    begin_ = end_ = 0;
    return {};
  }

  int64_t size() const override { return size_; }

  Result<Bytes> from(int64_t position, size_t count) override {
    const auto wanted = std::min(size_ - position, static_cast<int64_t>(count));
    if (position + wanted > end_) {
      if (auto read = read_from(position, static_cast<size_t>(wanted)); !read)
        return std::unexpected(read.error());
    }
    return Bytes(memory_.data() + (position - begin_), static_cast<size_t>(end_ - position));
  }

 private:
  static constexpr auto kBlock = static_cast<int64_t>(kJournalBlockBytes);

  // Moves what there is from `position` on to the front, and fills the rest.
  Result<> read_from(int64_t position, size_t wanted) {
    const size_t kept = position < end_ ? static_cast<size_t>(end_ - position) : 0;
    const std::byte* const at = kept > 0 ? memory_.data() + (position - begin_) : nullptr;
    if (wanted > memory_.size() || memory_.size() == 0) {
      AlignedBuffer larger(std::bit_ceil(std::max(wanted, kWindowBytes)), kJournalBlockBytes);
      if (kept > 0) std::memcpy(larger.data(), at, kept);
      memory_ = std::move(larger);
    } else if (kept > 0) {
      std::memmove(memory_.data(), at, kept);
    }
    begin_ = position;
    end_ = position + static_cast<int64_t>(kept);
    const size_t room = std::min(memory_.size() - kept, static_cast<size_t>(size_ - end_));
    const auto read = file_->read_at(MutableBytes(memory_.data() + kept, room), end_);
    if (!read) return std::unexpected(read.error());
    // A file that got shorter meanwhile.
    if (*read < room) size_ = end_ + static_cast<int64_t>(*read) / kBlock * kBlock;
    end_ = std::min(end_ + static_cast<int64_t>(room), size_);
    return {};
  }

  std::shared_ptr<File> file_;
  int64_t size_ = 0;
  AlignedBuffer memory_;
  int64_t begin_ = 0;  // of what is in memory
  int64_t end_ = 0;
};

Result<std::unique_ptr<JournalDirectory>> JournalDirectory::open(FileSystem& files, std::string path,
                                                                 bool read, int64_t file_bytes) {
  if (auto made = files.create_directory(path); !made) return std::unexpected(made.error());
  std::unique_ptr<JournalDirectory> directory(new JournalDirectory(files, std::move(path), file_bytes));
  if (auto loaded = directory->load(read); !loaded) return std::unexpected(loaded.error());
  return directory;
}

Result<> JournalDirectory::load(bool read) {
  const auto entries = files_.list(path_);
  if (!entries) return std::unexpected(entries.error());
  std::vector<std::string> paths;
  std::unordered_set<uint64_t> numbers;
  for (const DirectoryEntry& entry : *entries) {
    const auto number = number_of(entry.name);
    if (!number) continue;
    numbers.insert(*number);
    last_file_ = std::max(last_file_, *number);
    if (entry.is_directory) {
      damages_.push_back(
          fmt::format("{}/{} is a directory: left alone; move it elsewhere{}", path_, entry.name,
                      read ? ". If it stands where a file of the journal was, acknowledged "
                             "records may be missing: see with `millrace log verify` whether a "
                             "partition misses records"
                           : ""));
      continue;
    }
    paths.push_back(path_ + "/" + entry.name);
  }
  lacks_files_ = paths.size() < last_file_;
  std::vector<FoundFile> found;
  for (std::string& path : std::exchange(paths, {})) {
    FoundFile file{.path = path, .header = std::nullopt, .first = std::nullopt};
    const auto is_ours = look_at(path, read, file);
    if (!is_ours) return std::unexpected(is_ours.error());
    if (!*is_ours) continue;
    if (file.header) last_run_ = std::max(last_run_, file.header->run.number);
    // The first group of a file of version 1 is of the latest run in it.
    if (file.first) last_run_ = std::max(last_run_, file.first->position.run);
    found.push_back(std::move(file));
    paths.push_back(std::move(path));
  }
  if (read) {
    if (auto done = read_needed(std::move(found)); !done) return done;
  }
  (read ? unreleased_ : free_paths_) = std::move(paths);
  // They are made again first, so that they are missed once.
  for (uint64_t number = 1; number < last_file_ && free_paths_.size() < kMaxFree; ++number) {
    if (!numbers.contains(number)) free_paths_.push_back(path_ + "/" + file_name(number));
  }
  for (auto& [partition, batches] : recovered_) {
    needed_by_.insert(partition);
    std::stable_sort(batches.begin(), batches.end(),
                     [](const auto& a, const auto& b) { return a.position < b.position; });
  }
  return {};
}

Result<bool> JournalDirectory::look_at(const std::string& path, bool read, FoundFile& found) {
  const auto file = files_.open(path, OpenMode::kRead);
  if (!file) return std::unexpected(file.error());
  Buffer start(2 * kJournalBlockBytes);
  const auto got = (*file)->read_at(start, 0);
  if (!got) return std::unexpected(got.error());
  start.resize(*got);
  const auto size = (*file)->size();
  if (!size) return std::unexpected(size.error());
  found.header = peek_journal_file_start(start);
  found.whole_bytes = whole_bytes(*size, file_bytes_);
  Result<int64_t> grown_from = 0;
  if (found.header && *size > file_bytes_) {
    const auto block_at = [&](int64_t position) -> Result<Buffer> {
      Buffer block(kJournalBlockBytes);
      const auto filled = (*file)->read_at(block, position);
      if (!filled) return std::unexpected(filled.error());
      return block;
    };
    grown_from = size_before_growth(*found.header, *size, block_at, file_bytes_);
    if (!grown_from) return std::unexpected(grown_from.error());
  }
  if (*grown_from > 0) {
    found.whole_bytes = *grown_from;
    if (read) {
      damages_.push_back(fmt::format(
          "{} has {} bytes, and a file of the journal has {}: what was appended to it isn't used, and "
          "nothing is missing for it",
          path, *size, found.whole_bytes));
    }
  } else if (*size > found.whole_bytes) {
    if (found.header) {
      return fail(
          ErrorCode::kKafkaStorageError,
          fmt::format("{} has {} bytes, and a file of the journal has {}. It may hold acknowledged records: "
                      "restore it as it was; `millrace log verify` shows what is in it",
                      path, *size, found.whole_bytes));
    }
    damages_.push_back(fmt::format("{} isn't a file of the journal: left alone; move it elsewhere", path));
    return false;
  }
  const bool is_blank = std::ranges::all_of(Bytes(start).first(std::min(start.size(), kJournalBlockBytes)),
                                            [](std::byte byte) { return byte == std::byte{0}; });
  if (!found.header && *size == found.whole_bytes) {
    Buffer last(kJournalBlockBytes);
    const auto got_last = (*file)->read_at(last, *size - static_cast<int64_t>(kJournalBlockBytes));
    if (!got_last) return std::unexpected(got_last.error());
    found.header = peek_journal_file_header(last);
    if (found.header && !is_blank && read) {
      damages_.push_back(fmt::format(
          "{} is damaged at byte 0, in its header; the copy of that in its last block is used, and nothing "
          "is missing for it",
          path));
    }
  }
  if (!found.header) return refuse_headless(path, read, is_blank);
  if (found.header->version > kJournalVersion && read) {
    return fail(
        ErrorCode::kKafkaStorageError,
        fmt::format("{} is of version {} of the journal's format, and this broker knows them up to {}. "
                    "It may hold acknowledged records: start the broker that wrote it, and stop it "
                    "cleanly",
                    path, found.header->version, kJournalVersion));
  }
  // Which were written once it had its full size.
  if (found.header->version > 1 && *size < found.whole_bytes && read) {
    damages_.push_back(fmt::format(
        "{} has {} bytes, and a file of the journal has {}: it was cut off, and acknowledged records may be "
        "missing. What is left of it is used. Restore it and start again, or see with `millrace log verify` "
        "whether a partition misses records",
        path, *size, found.whole_bytes));
  }
  const size_t begin = journal_groups_begin(found.header->version);
  if (start.size() > begin) found.first = peek_journal_header(Bytes(start).subspan(begin), *found.header);
  return true;
}

// Without a header nothing tells the journal's groups from what clients have sent.
Result<bool> JournalDirectory::refuse_headless(const std::string& path, bool read, bool is_blank) {
  // Without `read` nobody needs what is in it.
  if (is_blank || !read) return true;
  damages_.push_back(fmt::format(
      "{} is damaged at byte 0 and in its last block, where its header should stand: what it holds can't be "
      "told from what clients have sent, and isn't used. It is left alone: restore it and start again, or "
      "see with `millrace log verify` whether a partition misses records, and remove it",
      path));
  return false;
}

void JournalDirectory::note_damage(const std::string& path, int64_t position) {
  damages_.push_back(fmt::format(
      "{} is damaged at byte {}; what comes behind is used. See with `millrace log verify` whether a "
      "partition misses records",
      path, position));
}

// What is known of a run's groups from those of its files that begin with a sound one.
class JournalDirectory::RunReading {
 public:
  // A file that was read, the latest first.
  void add(const JournalFileContent& content, bool is_whole) {
    if (lowest_ == 0) {
      needed_from_ = content.latest->needed_from;
      may_go_on_ = !is_whole || goes_on(content);
    } else if (content.latest->position.number + 1 != lowest_) {
      has_gap_ = true;
    }
    lowest_ = content.oldest->position.number;
  }
  // Whether a file from which the run went on with the group `next_number` has needed ones.
  bool needs_file_before(uint64_t next_number) const { return lowest_ == 0 || next_number > needed_from_; }
  // Whether there may be groups in files whose first one isn't sound. A journal takes its next file once a
  // group doesn't fit into the one before, and a group's number is one above that of the group before.
  bool may_have_more() const { return lowest_ == 0 || may_go_on_ || has_gap_ || lowest_ > needed_from_; }

 private:
  // Whether more groups than the sound ones may have been written to this file, up to its end, or behind it.
  static bool goes_on(const JournalFileContent& content) {
    const size_t largest = content.size > kFileBytes ? kJournalOlderMaxGroupBytes : kJournalMaxGroupBytes;
    const auto room = static_cast<int64_t>(largest + kJournalBlockBytes);
    if (content.size - content.groups_end < room) return true;
    return content.behind && content.behind->position > content.latest->position;
  }

  uint64_t lowest_ = 0;  // of the groups that were read
  uint64_t needed_from_ = 0;
  bool may_go_on_ = false;
  bool has_gap_ = false;
};

// A run's files from the latest on, until one has only groups that were checkpointed by the time of the
// latest group. What begins without a sound group comes last, and is read if it may have needed ones: where
// it was taken but never written to, it would only cost the start its time.
Result<> JournalDirectory::read_needed(std::vector<FoundFile> found) {
  const auto position_of = [](const FoundFile& file) {
    return file.first ? file.first->position : JournalPosition{};
  };
  std::sort(found.begin(), found.end(),
            [&](const auto& a, const auto& b) { return position_of(a) > position_of(b); });
  std::unordered_map<uint64_t, RunReading> runs;
  std::vector<ReadFile> read;
  FileWindow window;
  JournalPosition next;  // where the file used after this one begins
  for (const FoundFile& file : found) {
    if (!file.header) continue;  // it isn't believed
    const JournalPosition position = position_of(file);
    RunReading& run = runs[file.first ? position.run : file.header->run.number];
    const bool is_needed =
        file.first ? position.run != next.run || run.needs_file_before(next.number) : run.may_have_more();
    if (is_needed) {
      auto done = read_file(file, window);
      if (!done) return std::unexpected(done.error());
      const JournalFileContent& content = done->content;
      if (content.latest && content.has_sound_start()) run.add(content, content.size == file.whole_bytes);
      read.push_back(std::move(*done));
    }
    next = position;
  }
  std::vector<JournalFileContent> contents;
  for (const ReadFile& file : read) contents.push_back(file.content);
  for (ReadFile& file : read) {
    if (!begins_damaged(file.content, contents)) continue;
    note_damage(file.path, file.content.damaged_at);
    file.is_damaged = true;
  }
  std::unordered_set<uint64_t> taken_by;
  for (const FoundFile& file : found) {
    if (file.header) taken_by.insert(file.header->run.number);
  }
  find_gaps(read, taken_by);
  return {};
}

// Groups that the latest one of their run needs, and that are in no file. A file that was given back may be
// another journal's by now, so this counts only where a file is gone; and only for the runs of the latest
// start, since nobody needs those of earlier ones. `taken_by`: the runs that took a file.
void JournalDirectory::find_gaps(const std::vector<ReadFile>& read,
                                 const std::unordered_set<uint64_t>& taken_by) {
  if (!lacks_files_) return;
  const auto is_of_latest_start = [&](uint64_t run) {
    return run >> kJournalRunBits == last_run_ >> kJournalRunBits;
  };
  std::vector<GroupRange> groups;
  std::unordered_map<uint64_t, JournalHeader> latest;
  std::unordered_set<uint64_t> told;
  for (const ReadFile& file : read) {
    groups.insert(groups.end(), file.groups.begin(), file.groups.end());
    if (!file.content.latest) continue;
    const uint64_t run = file.content.latest->position.run;
    JournalHeader& header = latest.try_emplace(run, *file.content.latest).first->second;
    if (header.position < file.content.latest->position) header = *file.content.latest;
    if (file.is_damaged) told.insert(run);
  }
  std::ranges::sort(groups);
  for (const auto& [run, header] : latest) {
    if (!is_of_latest_start(run) || told.contains(run)) continue;
    uint64_t due = header.needed_from;
    for (const GroupRange& range : groups) {
      if (range.run != run || range.last < due) continue;
      if (range.first > due) {
        note_gap(
            fmt::format("Groups {} to {} of run {} are in no file of {}, of which one was removed: "
                        "acknowledged records may be missing. Restore it and start again, or see with "
                        "`millrace log verify` whether a partition misses records",
                        due, range.first - 1, run, path_));
      }
      due = range.last + 1;
    }
  }
  const auto is_unknown = [&](uint64_t run) { return is_of_latest_start(run) && !latest.contains(run); };
  if (std::ranges::any_of(taken_by, is_unknown)) {
    note_gap(
        fmt::format("A file of {} was removed, and no other one tells what was in it: acknowledged records "
                    "may be missing. Restore it and start again, or see with `millrace log verify` whether a "
                    "partition misses records",
                    path_));
  }
}

void JournalDirectory::note_gap(std::string line) {
  gaps_.push_back(line);
  damages_.push_back(std::move(line));
}

Result<JournalDirectory::ReadFile> JournalDirectory::read_file(const FoundFile& found, FileWindow& window) {
  if (auto opened = window.open(files_, found.path, found.whole_bytes); !opened)
    return std::unexpected(opened.error());
  const auto batches = files_.open(found.path, OpenMode::kRead);
  if (!batches) return std::unexpected(batches.error());
  ReadFile read{.path = found.path, .groups = {}, .content = {}};
  std::unordered_set<TopicIdPartition>& partitions = partitions_of_[found.path];
  auto note = [&](const JournalGroup& group) {
    const auto [run, number] = group.position;
    last_run_ = std::max(last_run_, run);
    if (read.groups.empty() || read.groups.back().run != run || read.groups.back().last + 1 != number)
      read.groups.push_back({run, number, number});
    read.groups.back().last = number;
    for (const JournalEntry& entry : group.entries) {
      const auto header = protocol::peek_batch_header(entry.batch);
      const auto position = group.file_position + static_cast<int64_t>(entry.batch_at);
      recovered_[entry.partition].push_back({.position = group.position,
                                             .log_end_offset = entry.log_end_offset,
                                             .next_offset = header->last_offset() + 1,
                                             .crc = header->crc,
                                             .slice = {*batches, position, entry.batch.size()}});
      partitions.insert(entry.partition);
    }
  };
  auto content = parse_journal_file(window, *found.header, note);
  if (!content) return std::unexpected(content.error());
  read.content = *content;
  read.is_damaged = content->size < found.whole_bytes;
  // Of those with damage at the start read_needed() decides.
  if (content->damaged_at >= 0 && content->has_sound_start()) {
    note_damage(found.path, content->damaged_at);
    read.is_damaged = true;
  }
  return read;
}

std::span<const JournaledBatch> JournalDirectory::recovered(const TopicIdPartition& partition) const {
  const std::lock_guard lock(mutex_);
  const auto found = recovered_.find(partition);
  if (found == recovered_.end()) return {};
  return found->second;
}

void JournalDirectory::mark_recovered(const TopicIdPartition& partition) {
  const std::lock_guard lock(mutex_);
  // Else it would hold files open that are others' by now, or gone.
  recovered_.erase(partition);
  if (needed_by_.erase(partition) > 0) release_unneeded();
}

void JournalDirectory::keep_for(std::unordered_set<TopicIdPartition> failed) {
  const std::lock_guard lock(mutex_);
  all_tried_ = true;
  std::erase_if(needed_by_, [&](const TopicIdPartition& partition) { return !failed.contains(partition); });
  std::erase_if(recovered_, [&](const auto& entry) { return !failed.contains(entry.first); });
  release_unneeded();
}

void JournalDirectory::release_unneeded() {
  if (!all_tried_) return;
  const auto is_needed = [&](const std::string& path) {
    const auto found = partitions_of_.find(path);
    return found != partitions_of_.end() &&
           std::any_of(found->second.begin(), found->second.end(),
                       [&](const TopicIdPartition& partition) { return needed_by_.contains(partition); });
  };
  std::vector<std::string> needed;
  for (std::string& path : std::exchange(unreleased_, {})) {
    if (is_needed(path)) {
      needed.push_back(std::move(path));
    } else if (free_paths_.size() + free_.size() >= kMaxFree && is_last(path, last_file_)) {
      // One that can't be removed isn't used any more.
      if (files_.remove(path)) --last_file_;
    } else {
      // Taken after those that are missing.
      free_paths_.insert(free_paths_.begin(), std::move(path));
    }
  }
  unreleased_ = std::move(needed);
  if (unreleased_.empty()) partitions_of_.clear();
}

JournalRun JournalDirectory::next_run(uint64_t salt) {
  const std::lock_guard lock(mutex_);
  if (!std::exchange(has_given_run_, true)) last_run_ |= (uint64_t{1} << kJournalRunBits) - 1;
  return {++last_run_, salt};
}

Result<std::shared_ptr<File>> JournalDirectory::take_file(const JournalRun& run) {
  std::shared_ptr<File> file;
  std::string path;
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      file = std::move(free_.back());
      free_.pop_back();
    } else if (free_paths_.empty()) {
      path = path_ + "/" + file_name(++last_file_);
    } else {
      path = std::move(free_paths_.back());
      free_paths_.pop_back();
    }
  }
  if (!file) {
    auto made = make_file(path, run);
    if (!made) {
      take_back(std::move(path));
      return made;
    }
    file = std::move(*made);
  }
  if (auto written = write_headers(*file, file_bytes_, run); !written) {
    give_back(std::move(file));
    return std::unexpected(written.error());
  }
  return file;
}

// The first block last: while it is the one of before, so is everything in the file.
Result<> JournalDirectory::write_headers(File& file, int64_t size, const JournalRun& run) const {
  const JournalFileBlock block = journal_file_block(run);
  const Bytes pieces[] = {block.bytes};
  const auto last = size - static_cast<int64_t>(kJournalBlockBytes);
  if (auto written = file.write_at(pieces, last); !written) return written;
  return file.write_at(pieces, 0);
}

// Makes one of today's size. It is the new run's before anything in it changes, and both sizes have their
// copy of the header: at each moment what is found there is what was meant. A file of another size has grown,
// and is what it was once that is off, or was cut off.
Result<> JournalDirectory::cut(File& file, int64_t size, const JournalRun& run) const {
  if (size == whole_bytes(size, file_bytes_)) {
    if (auto written = write_headers(file, size, run); !written) return written;
    if (auto written = write_headers(file, file_bytes_, run); !written) return written;
  }
  return file.truncate(file_bytes_);
}

// A path of which no file could be made: its number is the next one's.
void JournalDirectory::take_back(std::string path) {
  const auto exists = files_.exists(path);
  const std::lock_guard lock(mutex_);
  if (exists && !*exists && is_last(path, last_file_)) {
    --last_file_;
  } else {
    free_paths_.push_back(std::move(path));
  }
}

Result<std::shared_ptr<File>> JournalDirectory::make_file(const std::string& path, const JournalRun& run) {
  const auto existed = files_.exists(path);
  if (!existed) return std::unexpected(existed.error());
  auto made = open_filled(path, run);
  if (!made && !*existed) (void)files_.remove(path);
  return made;
}

// Every block is written once, so that later writes change no metadata of the file system. All of its space
// is set aside before: on a disk that is nearly full it would else take what clients send the last of it.
Result<std::shared_ptr<File>> JournalDirectory::open_filled(const std::string& path, const JournalRun& run) {
  const auto made = files_.open(path, OpenMode::kCreate);
  if (!made) return made;
  const auto size = (*made)->size();
  if (!size) return std::unexpected(size.error());
  auto file = files_.open(path, OpenMode::kDurable);
  if (!file) return file;
  if (*size > file_bytes_) {
    if (auto shortened = cut(**file, *size, run); !shortened) return std::unexpected(shortened.error());
  }
  // One that is there may be so in the page cache only: of a process that was killed here.
  if (*size > 0) {
    if (auto synced = (*made)->sync_data(); !synced) return std::unexpected(synced.error());
  }
  Result<> filled;
  if (*size < file_bytes_) {
    if (const auto reserved = (*made)->reserve(0, file_bytes_); !reserved)
      filled = std::unexpected(reserved.error());
  }
  if (filled) filled = fill(**file, std::min(*size, file_bytes_), file_bytes_);
  if (!filled) {
    (void)files_.remove(path);
    return std::unexpected(filled.error());
  }
  if (auto synced = files_.sync_directory(path_); !synced) return std::unexpected(synced.error());
  return file;
}

void JournalDirectory::give_back(std::shared_ptr<File> file) {
  const std::lock_guard lock(mutex_);
  if (free_paths_.size() + free_.size() >= kMaxFree && is_last(file->path(), last_file_)) {
    if (files_.remove(file->path())) --last_file_;
    return;
  }
  free_.push_back(std::move(file));
}

}  // namespace millrace::storage
