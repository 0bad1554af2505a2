#include "storage/leader_epochs.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>

namespace millrace::storage {
namespace {

constexpr size_t kFileLimit = size_t{4} << 20;

// The next number of `text`, which is cut behind it; false when there is none.
template <class T>
bool take_number(std::string_view& text, T& number) {
  const size_t start = text.find_first_not_of(" \n");
  if (start == std::string_view::npos) return false;
  text.remove_prefix(start);
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(parsed.ptr - text.data()));
  return true;
}

// Version, number of entries, entries: the same text that Kafka writes.
std::optional<std::vector<EpochEntry>> parse(std::string_view text) {
  int version = 0;
  size_t count = 0;
  if (!take_number(text, version) || version != 0 || !take_number(text, count)) return std::nullopt;
  std::vector<EpochEntry> entries;
  for (size_t i = 0; i < count; ++i) {
    EpochEntry entry;
    if (!take_number(text, entry.epoch) || !take_number(text, entry.start_offset)) return std::nullopt;
    if (!entries.empty() &&
        (entry.epoch <= entries.back().epoch || entry.start_offset < entries.back().start_offset)) {
      return std::nullopt;
    }
    entries.push_back(entry);
  }
  return entries;
}

}  // namespace

LeaderEpochs::LeaderEpochs(FileSystem& files, std::string directory)
    : files_(files), directory_(std::move(directory)) {
  const std::string path = fmt::format("{}/{}", directory_, kFileName);
  const auto exists = files_.exists(path);
  if (!exists || !*exists) return;
  const auto content = read_file(files_, path, kFileLimit);
  if (!content) {
    load_problem_ = content.error().message;
    return;
  }
  auto entries = parse(as_text(*content));
  if (entries) {
    entries_ = std::move(*entries);
  } else {
    load_problem_ = path + " doesn't hold what a leader epoch checkpoint holds";
  }
}

std::string LeaderEpochs::text() const {
  std::string text = fmt::format("0\n{}\n", entries_.size());
  for (const EpochEntry& entry : entries_)
    fmt::format_to(std::back_inserter(text), "{} {}\n", entry.epoch, entry.start_offset);
  return text;
}

Result<> LeaderEpochs::store() const {
  return replace_file(files_, fmt::format("{}/{}", directory_, kFileName), as_bytes(text()));
}

Result<> LeaderEpochs::begin(int32_t epoch, int64_t start_offset) {
  const auto file = files_.open(fmt::format("{}/{}", directory_, kFileName), OpenMode::kCreate);
  if (!file) return std::unexpected(file.error());
  if (auto emptied = (*file)->truncate(0); !emptied) return emptied;
  entries_ = {{epoch, start_offset}};
  const std::string content = text();
  const Bytes pieces[] = {as_bytes(content)};
  auto written = (*file)->write_at(pieces, 0);
  if (!written) entries_.clear();
  return written;
}

Result<> LeaderEpochs::assign(int32_t epoch, int64_t start_offset) {
  if (epoch < 0) return {};
  if (!entries_.empty() && entries_.back().epoch == epoch && entries_.back().start_offset <= start_offset)
    return {};
  const std::vector<EpochEntry> before = entries_;
  while (!entries_.empty() &&
         (entries_.back().epoch >= epoch || entries_.back().start_offset >= start_offset)) {
    entries_.pop_back();
  }
  entries_.push_back({epoch, start_offset});
  auto stored = store();
  // Or the next attempt, when there is space again, would take it for stored.
  if (!stored) entries_ = before;
  return stored;
}

Result<> LeaderEpochs::truncate_from_end(int64_t end_offset) {
  const size_t before = entries_.size();
  while (!entries_.empty() && entries_.back().start_offset >= end_offset) entries_.pop_back();
  return entries_.size() == before ? Result<>{} : store();
}

void LeaderEpochs::truncate_from_start(int64_t start_offset) {
  size_t below = 0;
  while (below < entries_.size() && entries_[below].start_offset <= start_offset) ++below;
  if (below == 0 || (below == 1 && entries_.front().start_offset == start_offset)) return;
  entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(below - 1));
  entries_.front().start_offset = start_offset;
}

Result<> LeaderEpochs::clear() { return rebuild({}); }

Result<> LeaderEpochs::rebuild(std::vector<EpochEntry> entries) {
  if (entries == entries_ && load_problem_.empty()) return {};
  entries_ = std::move(entries);
  load_problem_.clear();
  return store();
}

std::optional<int32_t> LeaderEpochs::latest_epoch() const {
  if (entries_.empty()) return std::nullopt;
  return entries_.back().epoch;
}

std::optional<int32_t> LeaderEpochs::epoch_of(int64_t offset) const {
  const auto above =
      std::upper_bound(entries_.begin(), entries_.end(), offset,
                       [](int64_t wanted, const EpochEntry& entry) { return wanted < entry.start_offset; });
  if (above == entries_.begin()) return std::nullopt;
  return std::prev(above)->epoch;
}

EpochEndOffset LeaderEpochs::end_offset_for(int32_t epoch, int64_t log_end_offset) const {
  if (epoch == -1 || entries_.empty() || epoch > entries_.back().epoch) return {};
  if (epoch == entries_.back().epoch) return {epoch, log_end_offset};
  const auto higher =
      std::upper_bound(entries_.begin(), entries_.end(), epoch,
                       [](int32_t wanted, const EpochEntry& entry) { return wanted < entry.epoch; });
  if (higher == entries_.begin()) return {epoch, higher->start_offset};
  return {std::prev(higher)->epoch, higher->start_offset};
}

}  // namespace millrace::storage
