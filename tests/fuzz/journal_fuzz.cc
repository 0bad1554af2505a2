// Any bytes as a journal file. What is taken for a group must be sound batches, in order, within the file.
#include <algorithm>

#include "protocol/record_batch.h"
#include "storage/journal_directory.h"
#include "storage/journal_format.h"
#include "tests/fuzz/batch_input.h"
#include "tests/fuzz/fuzz.h"

using namespace millrace;
using namespace millrace::storage;

namespace {

void check(const WholeJournalFile& content, Bytes file) {
  size_t bytes = 0;
  JournalPosition last;
  for (const JournalGroup& group : content.groups) {
    FUZZ_CHECK(group.size_bytes % kJournalBlockBytes == 0);
    FUZZ_CHECK(last == JournalPosition{} || (group.position.run == last.run && group.position > last));
    last = group.position;
    bytes += group.size_bytes;
    for (const JournalEntry& entry : group.entries) {
      FUZZ_CHECK(entry.batch.data() >= file.data() &&
                 entry.batch.data() + entry.batch.size() <= file.data() + file.size());
      FUZZ_CHECK(protocol::crc_matches(entry.batch));
      const auto header = protocol::peek_batch_header(entry.batch);
      FUZZ_CHECK(header && header->size_bytes() == entry.batch.size());
    }
  }
  FUZZ_CHECK(bytes <= file.size() + kJournalBlockBytes);
  FUZZ_CHECK(content.damaged_at < static_cast<int64_t>(file.size()));
}

// Gives no byte more than it is asked for, and takes back what it gave before.
class Pieces final : public JournalFileBytes {
 public:
  explicit Pieces(Bytes file) : file_(file) {}
  int64_t size() const override { return static_cast<int64_t>(file_.size()); }
  Result<Bytes> from(int64_t position, size_t count) override {
    FUZZ_CHECK(position % kJournalBlockBytes == 0 && position >= position_);
    position_ = position;
    const Bytes rest = file_.subspan(static_cast<size_t>(position));
    piece_.assign(rest.begin(), rest.begin() + static_cast<ptrdiff_t>(std::min(count, rest.size())));
    return Bytes(piece_);
  }

 private:
  Bytes file_;
  int64_t position_ = 0;
  Buffer piece_;
};

bool are_same(const std::optional<JournalHeader>& one, const std::optional<JournalHeader>& other) {
  if (!one || !other) return one.has_value() == other.has_value();
  return one->position == other->position && one->needed_from == other->needed_from &&
         one->size_bytes == other->size_bytes;
}

// Piece by piece a file holds the same.
void check_pieces(const WholeJournalFile& whole, Bytes file) {
  if (!whole.header) return;
  Pieces pieces(file);
  size_t groups = 0;
  const auto content = parse_journal_file(pieces, *whole.header, [&](const JournalGroup& group) {
    FUZZ_CHECK(groups < whole.groups.size());
    const JournalGroup& same = whole.groups[groups++];
    FUZZ_CHECK(group.position == same.position && group.file_position == same.file_position);
    FUZZ_CHECK(group.entries.size() == same.entries.size());
    for (size_t i = 0; i < group.entries.size(); ++i) {
      FUZZ_CHECK(std::ranges::equal(group.entries[i].batch, same.entries[i].batch));
      const Bytes at = file.subspan(static_cast<size_t>(group.file_position) + group.entries[i].batch_at);
      FUZZ_CHECK(at.data() == same.entries[i].batch.data());
    }
  });
  FUZZ_CHECK(content && groups == whole.groups.size());
  FUZZ_CHECK(are_same(content->start, whole.start) && are_same(content->oldest, whole.oldest));
  FUZZ_CHECK(are_same(content->latest, whole.latest) && are_same(content->behind, whole.behind));
  FUZZ_CHECK(content->damaged_at == whole.damaged_at && content->groups_end == whole.groups_end);
}

constexpr uint64_t kSalt = 7;

Buffer file_of(uint64_t run, std::vector<uint64_t> numbers) {
  const JournalFileBlock block = journal_file_block({run, kSalt});
  Buffer file(block.bytes.begin(), block.bytes.end());
  const auto batches = fuzz::plain_batches();
  for (const uint64_t number : numbers) {
    JournalGroupBuilder builder(kSalt);
    for (size_t i = 0; i < number % 3 + 1; ++i)
      builder.add({Uuid::from_random(1, number), 0}, static_cast<int64_t>(i), batches[i % batches.size()]);
    const Bytes group = builder.seal({{run, number}, 0});
    file.insert(file.end(), group.begin(), group.end());
  }
  file.insert(file.end(), block.bytes.begin(), block.bytes.end());
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes input = std::as_bytes(std::span(data, size));
  const WholeJournalFile whole = parse_journal_file(input);
  check(whole, input);
  check_pieces(whole, input);
  const auto file = find_journal_file_header(input);
  if (!file || file->version != kJournalVersion) return 0;
  const Bytes groups = input.subspan(std::min(input.size(), kJournalBlockBytes));
  if (const auto group = parse_journal_group(groups, *file)) {
    FUZZ_CHECK(peek_journal_header(groups, *file)->position == group->position);
    FUZZ_CHECK(group->position.run == file->run.number);
    // What is written again is read as the same; with another salt it is nothing.
    JournalGroupBuilder builder(file->run.salt);
    for (const JournalEntry& entry : group->entries)
      builder.add(entry.partition, entry.log_end_offset, entry.batch);
    if (builder.empty()) return 0;
    const Bytes sealed = builder.seal({group->position, group->needed_from});
    const auto again = parse_journal_group(sealed, *file);
    FUZZ_CHECK(again && again->entries.size() == group->entries.size());
    FUZZ_CHECK(!parse_journal_group(sealed, {.run = {file->run.number, file->run.salt + 1}}));
  }
  return 0;
}

std::vector<Buffer> fuzz::seeds() {
  return {file_of(1, {1, 2, 3}), file_of(7, {4}), file_of(2, {5, 2, 3}), Buffer(kJournalBlockBytes)};
}
