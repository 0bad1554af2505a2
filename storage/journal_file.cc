#include "storage/journal_file.h"

#include <algorithm>
#include <utility>

namespace millrace::storage {

JournalFileContent parse_journal_file(Bytes content) {
  JournalFileContent found;
  found.header = find_journal_file_header(content);
  if (!found.header || found.header->version > kJournalVersion) return found;
  const JournalFileHeader& file = *found.header;
  std::optional<int64_t> hole;
  for (size_t at = journal_groups_begin(file.version); at + kJournalBlockBytes <= content.size();) {
    const auto header = peek_journal_header(content.subspan(at), file);
    const JournalPosition last = found.groups.empty() ? JournalPosition{} : found.groups.back().position;
    // What an earlier use of the file left: groups with lower numbers, or of an earlier run (which only
    // version 1 can tell from a client's bytes). And what an earlier run left isn't reached by a later one
    // that ended before it.
    const bool is_stale = header && !found.groups.empty() &&
                          (header->position.run != last.run || header->position.number <= last.number);
    if (is_stale) break;
    auto group = header ? parse_journal_group(content.subspan(at), file) : std::nullopt;
    if (!group) {
      if (!hole) hole = static_cast<int64_t>(at);
      at += kJournalBlockBytes;
      continue;
    }
    if (hole && found.damaged_at < 0) found.damaged_at = *hole;
    group->file_position = static_cast<int64_t>(at);
    at += group->size_bytes;
    found.groups_end = static_cast<int64_t>(at);
    found.groups.push_back(std::move(*group));
  }
  return found;
}

JournalFileEnds ends_of(Bytes bytes, const JournalFileContent& content) {
  JournalFileEnds ends;
  if (!content.header) return ends;
  const size_t begin = journal_groups_begin(content.header->version);
  if (bytes.size() > begin) ends.first = peek_journal_header(bytes.subspan(begin), *content.header);
  ends.has_sound_start = content.damaged_at != static_cast<int64_t>(begin);
  if (!content.groups.empty())
    ends.latest = JournalHeader{content.groups.back().position, content.groups.back().needed_from};
  return ends;
}

bool begins_damaged(const JournalFileEnds& file, std::span<const JournalFileEnds> all) {
  if (file.has_sound_start || !file.latest) return false;
  const JournalPosition last = file.latest->position;
  if (file.first && file.first->position > last) return false;
  uint64_t newest_run = 0;
  JournalHeader latest = *file.latest;
  for (const JournalFileEnds& other : all) {
    for (const auto& header : {other.first, other.latest}) {
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
