#include "storage/journal_file.h"

#include <algorithm>
#include <utility>

namespace millrace::storage {
namespace {

class BytesInMemory final : public JournalFileBytes {
 public:
  explicit BytesInMemory(Bytes bytes) : bytes_(bytes) {}
  int64_t size() const override { return static_cast<int64_t>(bytes_.size()); }
  Result<Bytes> from(int64_t position, size_t) override {
    return bytes_.subspan(static_cast<size_t>(position));
  }

 private:
  Bytes bytes_;
};

JournalHeader header_of(const JournalGroup& group) {
  return {group.position, group.needed_from, group.size_bytes};
}

}  // namespace

Result<JournalFileContent> parse_journal_file(JournalFileBytes& bytes, const JournalFileHeader& file,
                                              const std::function<void(const JournalGroup&)>& visit) {
  constexpr auto kBlock = static_cast<int64_t>(kJournalBlockBytes);
  JournalFileContent content;
  content.header = file;
  content.size = bytes.size();
  if (file.version > kJournalVersion) return content;
  const auto begin = static_cast<int64_t>(journal_groups_begin(file.version));
  content.groups_end = begin;
  std::optional<int64_t> hole;
  for (int64_t at = begin; at + kBlock <= bytes.size();) {
    auto piece = bytes.from(at, kJournalBlockBytes);
    if (!piece) return std::unexpected(piece.error());
    const auto header = peek_journal_header(*piece, file);
    if (at == begin) content.start = header;
    if (at == content.groups_end) content.behind = header;
    // What an earlier use of the file left: groups with lower numbers, or of an earlier run (which only
    // version 1 can tell from a client's bytes). And what an earlier run left isn't reached by a later one
    // that ended before it.
    if (header && content.latest &&
        (header->position.run != content.latest->position.run ||
         header->position <= content.latest->position))
      break;
    if (header && header->size_bytes > piece->size()) {
      piece = bytes.from(at, header->size_bytes);
      if (!piece) return std::unexpected(piece.error());
    }
    auto group = header ? parse_journal_group(*piece, file) : std::nullopt;
    if (!group) {
      if (!hole) hole = at;
      at += kBlock;
      continue;
    }
    if (hole && content.damaged_at < 0) content.damaged_at = *hole;
    group->file_position = at;
    at += static_cast<int64_t>(group->size_bytes);
    content.groups_end = at;
    content.latest = header_of(*group);
    if (!content.oldest) content.oldest = content.latest;
    content.behind.reset();
    visit(*group);
  }
  return content;
}

WholeJournalFile parse_journal_file(Bytes content) {
  const auto header = find_journal_file_header(content);
  if (!header) return {};
  BytesInMemory bytes(content);
  WholeJournalFile whole;
  const auto parsed =
      parse_journal_file(bytes, *header, [&](const JournalGroup& group) { whole.groups.push_back(group); });
  static_cast<JournalFileContent&>(whole) = *parsed;
  return whole;
}

bool begins_damaged(const JournalFileContent& file, std::span<const JournalFileContent> all) {
  if (file.has_sound_start() || !file.latest) return false;
  const JournalPosition last = file.latest->position;
  if (file.start && file.start->position > last) return false;
  uint64_t newest_run = 0;
  JournalHeader latest = *file.latest;
  for (const JournalFileContent& other : all) {
    for (const auto& header : {other.start, other.latest}) {
      if (!header) continue;
      newest_run = std::max(newest_run, header->position.run);
      if (header->position.run == last.run && header->position > latest.position) latest = *header;
    }
  }
  // What an earlier start's runs have left, this one's had no need of.
  if (last.run >> kJournalRunBits != newest_run >> kJournalRunBits) return false;
  return last.number >= latest.needed_from;
}

}  // namespace millrace::storage
