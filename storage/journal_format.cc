#include "storage/journal_format.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <utility>

#include "protocol/crc32c.h"
#include "protocol/record_batch.h"

namespace millrace::storage {
namespace {

using protocol::crc32c;

static_assert(std::endian::native == std::endian::little);

constexpr uint32_t kMagic = 0x324a524d;            // "MRJ2"
constexpr uint32_t kMagicOfVersion1 = 0x314a524d;  // "MRJ1"
constexpr uint32_t kFileMagic = 0x464a524d;        // "MRJF"
// Where the bytes begin that a batch's own CRC covers.
constexpr size_t kBatchCrcStart = 21;
constexpr size_t kSmallestCapacity = size_t{64} << 10;
// A burst's memory isn't kept for ever: more than this goes with the first group that needs much less.
constexpr size_t kKeptCapacity = size_t{1} << 20;

struct FileHeader {
  uint32_t magic;
  uint32_t crc;  // of what follows in this header
  uint32_t version;
  uint32_t reserved;
  uint64_t run;
  uint64_t salt;
};
static_assert(sizeof(FileHeader) == 32);

struct GroupHeader {
  uint32_t magic;
  uint32_t crc;  // of what follows in this header
  uint64_t run;
  uint64_t number;
  uint64_t needed_from;
  uint32_t body_bytes;  // all entries, without padding
  uint32_t entry_count;
  uint64_t salt;  // not in version 1
};
static_assert(sizeof(GroupHeader) == 48);
constexpr size_t kGroupHeaderOfVersion1 = offsetof(GroupHeader, salt);

struct EntryHeader {
  std::array<std::byte, 16> topic_id;
  int32_t partition;
  uint32_t batch_bytes;
  int64_t log_end_offset;
  uint32_t crc;  // of the salt, of what is before, and of the batch up to kBatchCrcStart
  uint32_t reserved;
};
static_assert(sizeof(EntryHeader) == 40);

template <class T>
T load(Bytes at) {
  T value;
  std::memcpy(&value, at.data(), sizeof(T));
  return value;
}

template <class T>
Bytes bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

uint32_t crc_of(const FileHeader& header) {
  return crc32c(bytes_of(header).subspan(offsetof(FileHeader, version)));
}

constexpr size_t group_header_bytes(uint32_t version) {
  return version == 1 ? kGroupHeaderOfVersion1 : sizeof(GroupHeader);
}

uint32_t crc_of(const GroupHeader& header, uint32_t version) {
  const size_t begin = offsetof(GroupHeader, run);
  return crc32c(bytes_of(header).subspan(begin, group_header_bytes(version) - begin));
}

// What the CRC of an entry begins with.
uint32_t entry_seed(const JournalFileHeader& file) {
  return file.version == 1 ? 0 : crc32c(bytes_of(file.run.salt));
}

uint32_t crc_of(const EntryHeader& header, Bytes batch, uint32_t seed) {
  const uint32_t crc = crc32c(bytes_of(header).first(offsetof(EntryHeader, crc)), seed);
  return crc32c(batch.first(std::min(batch.size(), kBatchCrcStart)), crc);
}

size_t padded(size_t bytes) {
  return (bytes + kJournalBlockBytes - 1) / kJournalBlockBytes * kJournalBlockBytes;
}

// With padding.
size_t size_of(const GroupHeader& header, uint32_t version) {
  return padded(group_header_bytes(version) + header.body_bytes);
}

std::optional<GroupHeader> parse_header(Bytes at, const JournalFileHeader& file) {
  const size_t size = group_header_bytes(file.version);
  if (at.size() < size) return std::nullopt;
  GroupHeader header{};
  std::memcpy(&header, at.data(), size);
  if (header.magic != (file.version == 1 ? kMagicOfVersion1 : kMagic)) return std::nullopt;
  if (header.crc != crc_of(header, file.version)) return std::nullopt;
  if (file.version != 1 && (header.run != file.run.number || header.salt != file.run.salt))
    return std::nullopt;
  return header;
}

// The entry at the start of `body`.
std::optional<JournalEntry> parse_entry(Bytes body, uint32_t seed) {
  if (body.size() < sizeof(EntryHeader)) return std::nullopt;
  const auto header = load<EntryHeader>(body);
  body = body.subspan(sizeof(EntryHeader));
  if (header.batch_bytes > body.size() || header.batch_bytes < protocol::BatchHeader::kSize)
    return std::nullopt;
  const Bytes batch = body.first(header.batch_bytes);
  if (header.crc != crc_of(header, batch, seed)) return std::nullopt;
  const auto batch_header = protocol::peek_batch_header(batch);
  if (!batch_header || batch_header->size_bytes() != batch.size() || !protocol::crc_matches(batch))
    return std::nullopt;
  return JournalEntry{.partition = {Uuid{header.topic_id}, header.partition},
                      .log_end_offset = header.log_end_offset,
                      .batch = batch};
}

}  // namespace

JournalGroupBuilder::JournalGroupBuilder(uint64_t salt)
    : salt_(salt), entry_seed_(entry_seed({.run = {.number = 0, .salt = salt}})) {}

size_t JournalGroupBuilder::size_with(size_t batch_bytes) const {
  return padded(std::max(size_, sizeof(GroupHeader)) + sizeof(EntryHeader) + batch_bytes);
}

void JournalGroupBuilder::reserve(size_t bytes) {
  if (bytes <= memory_.size()) return;
  AlignedBuffer memory(std::bit_ceil(std::max(bytes, kSmallestCapacity)), kJournalBlockBytes);
  if (size_ > 0) std::memcpy(memory.data(), memory_.data(), size_);
  memory_ = std::move(memory);
}

void JournalGroupBuilder::add(const TopicIdPartition& partition, int64_t log_end_offset, Bytes batch) {
  reserve(size_with(batch.size()));
  if (size_ == 0) size_ = sizeof(GroupHeader);
  EntryHeader header{.topic_id = partition.topic_id.bytes,
                     .partition = partition.partition,
                     .batch_bytes = static_cast<uint32_t>(batch.size()),
                     .log_end_offset = log_end_offset,
                     .crc = 0,
                     .reserved = 0};
  header.crc = crc_of(header, batch, entry_seed_);
  std::memcpy(memory_.data() + size_, &header, sizeof(header));
  size_ += sizeof(header);
  std::memcpy(memory_.data() + size_, batch.data(), batch.size());
  size_ += batch.size();
  ++entry_count_;
}

void JournalGroupBuilder::remove(const TopicIdPartition& partition) {
  if (empty()) return;
  size_t kept = sizeof(GroupHeader);
  for (size_t at = kept; at < size_;) {
    const auto header = load<EntryHeader>(Bytes(memory_.data() + at, sizeof(EntryHeader)));
    const size_t bytes = sizeof(EntryHeader) + header.batch_bytes;
    if (header.topic_id == partition.topic_id.bytes && header.partition == partition.partition) {
      --entry_count_;
    } else {
      if (kept != at) std::memmove(memory_.data() + kept, memory_.data() + at, bytes);
      kept += bytes;
    }
    at += bytes;
  }
  size_ = kept;
}

Bytes JournalGroupBuilder::seal(const JournalHeader& told) {
  GroupHeader header{.magic = kMagic,
                     .crc = 0,
                     .run = told.position.run,
                     .number = told.position.number,
                     .needed_from = told.needed_from,
                     .body_bytes = static_cast<uint32_t>(size_ - sizeof(GroupHeader)),
                     .entry_count = entry_count_,
                     .salt = salt_};
  header.crc = crc_of(header, kJournalVersion);
  std::memcpy(memory_.data(), &header, sizeof(header));
  const size_t whole = padded(size_);
  std::memset(memory_.data() + size_, 0, whole - size_);
  return {memory_.data(), whole};
}

void JournalGroupBuilder::clear() {
  const bool is_oversized = memory_.size() > kKeptCapacity && size_ < memory_.size() / 8;
  size_ = 0;
  entry_count_ = 0;
  // Large groups often come one after the other, and giving memory back and getting it again costs more than
  // filling it.
  if (!is_oversized) return;
  memory_ = {};
}

JournalFileBlock journal_file_block(const JournalRun& run) {
  FileHeader header{.magic = kFileMagic,
                    .crc = 0,
                    .version = kJournalVersion,
                    .reserved = 0,
                    .run = run.number,
                    .salt = run.salt};
  header.crc = crc_of(header);
  JournalFileBlock block;
  std::memcpy(block.bytes.data(), &header, sizeof(header));
  return block;
}

std::optional<JournalFileHeader> peek_journal_file_header(Bytes block) {
  if (block.size() < sizeof(FileHeader)) return std::nullopt;
  const auto header = load<FileHeader>(block);
  if (header.magic != kFileMagic || header.crc != crc_of(header)) return std::nullopt;
  return JournalFileHeader{header.version, {header.run, header.salt}};
}

std::optional<JournalFileHeader> peek_journal_file_start(Bytes first_block) {
  if (const auto header = peek_journal_file_header(first_block)) return header;
  // A client's bytes stand at the start of a file in neither version.
  constexpr JournalFileHeader kVersion1{1, {}};
  if (parse_header(first_block, kVersion1)) return kVersion1;
  return std::nullopt;
}

std::optional<JournalFileHeader> find_journal_file_header(Bytes content) {
  if (const auto header = peek_journal_file_start(content)) return header;
  if (content.size() < kJournalFrameBytes) return std::nullopt;
  return peek_journal_file_header(content.last(kJournalBlockBytes));
}

std::optional<JournalHeader> peek_journal_header(Bytes at, const JournalFileHeader& file) {
  const auto header = parse_header(at, file);
  if (!header) return std::nullopt;
  return JournalHeader{{header->run, header->number}, header->needed_from, size_of(*header, file.version)};
}

std::optional<JournalGroup> parse_journal_group(Bytes at, const JournalFileHeader& file) {
  const auto header = parse_header(at, file);
  const size_t header_bytes = group_header_bytes(file.version);
  if (!header || header->body_bytes > at.size() - header_bytes) return std::nullopt;
  JournalGroup group{.position = {header->run, header->number},
                     .needed_from = header->needed_from,
                     .entries = {},
                     .size_bytes = size_of(*header, file.version)};
  const uint32_t seed = entry_seed(file);
  Bytes body = at.subspan(header_bytes, header->body_bytes);
  while (!body.empty()) {
    auto entry = parse_entry(body, seed);
    if (!entry) return std::nullopt;
    entry->batch_at = static_cast<size_t>(entry->batch.data() - at.data());
    body = body.subspan(sizeof(EntryHeader) + entry->batch.size());
    group.entries.push_back(*entry);
  }
  if (group.entries.size() != header->entry_count || group.size_bytes > padded(at.size()))
    return std::nullopt;
  return group;
}

}  // namespace millrace::storage
