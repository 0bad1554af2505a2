#include "tests/fuzz/batch_input.h"

#include "protocol/batch_builder.h"
#include "protocol/compression.h"
#include "protocol/record_batch.h"

namespace millrace::fuzz {

using namespace protocol;

Buffer batch_of_input(Bytes input) {
  if (input.empty()) return {};
  const auto mode = std::to_integer<int>(input[0]);
  input = input.subspan(1);
  constexpr int kLastCodec = 4;
  if (mode > kLastCodec || input.size() < BatchHeader::kSize) return {input.begin(), input.end()};
  const auto records = compress(static_cast<Compression>(mode), input.subspan(BatchHeader::kSize));
  if (!records) return {};
  Buffer batch(input.begin(), input.begin() + BatchHeader::kSize);
  batch.insert(batch.end(), records->begin(), records->end());
  // Magic first, or the header isn't read; everything else stays as the input says.
  constexpr size_t kMagicAt = 16;
  batch[kMagicAt] = std::byte{BatchHeader::kMagic};
  constexpr size_t kLengthAt = 8;
  const auto length = static_cast<uint32_t>(batch.size() - BatchHeader::kLengthOverhead);
  for (size_t i = 0; i < 4; ++i) batch[kLengthAt + i] = static_cast<std::byte>(length >> (24 - 8 * i));
  auto header = *peek_batch_header(batch);
  header.attributes = static_cast<int16_t>((header.attributes & ~7) | mode);
  write_batch_header(header, batch);
  update_crc(batch);
  return batch;
}

std::vector<Buffer> batch_seeds() {
  constexpr int64_t kTime = 1'700'000'000'000;
  std::vector<Buffer> found;
  for (int mode = 0; mode <= 5; ++mode) {
    for (int count : {1, 3}) {
      BatchOptions options;
      if (count == 3) {
        options.producer_id = 5;
        options.producer_epoch = 0;
        options.base_sequence = 0;
      }
      BatchBuilder builder(options);
      for (int i = 0; i < count; ++i) {
        const RecordHeader headers[] = {{"h", as_bytes("1")}, {"n", std::nullopt}};
        builder.append(i == 1 ? std::nullopt : std::optional(as_bytes("key")), as_bytes("some value"),
                       std::span(headers).first(static_cast<size_t>(i)), kTime + i);
      }
      Buffer input = *builder.build();
      input.insert(input.begin(), static_cast<std::byte>(mode));
      found.push_back(std::move(input));
    }
  }
  return found;
}

std::vector<Buffer> plain_batches() {
  std::vector<Buffer> found;
  for (const Buffer& input : batch_seeds()) {
    if (input.front() == std::byte{0}) found.push_back(batch_of_input(input));
  }
  return found;
}

}  // namespace millrace::fuzz
