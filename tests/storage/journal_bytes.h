// Groups and files of the journal, byte for byte, for tests that put them in a journal's way.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "protocol/crc32c.h"
#include "storage/journal_format.h"
#include "tests/storage/log_fixture.h"

namespace millrace::storage::test {

inline const TopicIdPartition kOrders{Uuid::from_random(1, 2), 3};
inline const TopicIdPartition kClicks{Uuid::from_random(3, 4), 0};

inline Buffer batch_at(int64_t base_offset, int records = 1, size_t value_size = 20) {
  Buffer batch = batch_of(std::vector<int64_t>(static_cast<size_t>(records), kNow), value_size);
  protocol::set_base_offset(batch, base_offset);
  return batch;
}

inline Buffer copy(Bytes bytes) { return {bytes.begin(), bytes.end()}; }

inline constexpr uint64_t kSalt = 0x5eed;

inline JournalFileHeader file_of_run(uint64_t run) { return {.run = {run, kSalt}}; }

// A group of one batch, as it stands in a file.
inline Buffer group_of(const JournalPosition& position, Bytes batch) {
  JournalGroupBuilder builder(kSalt);
  builder.add(kOrders, 7, batch);
  return copy(builder.seal({position, 1}));
}

inline Buffer concatenated(const std::vector<Buffer>& parts) {
  Buffer all;
  for (const Buffer& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// A whole file of a run.
inline Buffer file_with(uint64_t run, std::vector<Buffer> groups) {
  const Buffer block = copy(journal_file_block({run, kSalt}).bytes);
  groups.insert(groups.begin(), block);
  groups.push_back(block);
  return concatenated(groups);
}

// What a group without a salt was, in a file of version 1.
inline Buffer in_version_1(Buffer group) {
  constexpr size_t kHeader = 48;
  constexpr size_t kHeaderOfVersion1 = 40;
  constexpr std::string_view kMagic = "MRJ1";
  std::ranges::copy(as_bytes(kMagic), group.begin());
  group.erase(group.begin() + kHeaderOfVersion1, group.begin() + kHeader);
  group.resize(group.size() + kHeader - kHeaderOfVersion1);
  const auto store = [&](size_t at, uint32_t crc) { std::memcpy(group.data() + at, &crc, sizeof(crc)); };
  store(4, protocol::crc32c(Bytes(group).subspan(8, kHeaderOfVersion1 - 8)));
  // Of the entry: its header up to the checksum, and the batch up to where its own CRC begins.
  const uint32_t crc = protocol::crc32c(Bytes(group).subspan(kHeaderOfVersion1, 32));
  store(kHeaderOfVersion1 + 32, protocol::crc32c(Bytes(group).subspan(kHeaderOfVersion1 + 40, 21), crc));
  return group;
}

}  // namespace millrace::storage::test
