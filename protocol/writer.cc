#include "protocol/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace millrace::protocol {

Buffer Writer::take() {
  out_.resize(size_);
  size_ = 0;
  taken_ = true;
  return std::exchange(out_, {});
}

uint64_t Writer::size_with_splices() const {
  uint64_t total = size_;
  for (const Splice& splice : splices_) total += splice.size;
  return total;
}

void Writer::patch_int32(size_t at, int32_t value) {
  assert(at + sizeof value <= size_);
  uint32_t bits = static_cast<uint32_t>(value);
  if constexpr (std::endian::native == std::endian::little) bits = std::byteswap(bits);
  std::memcpy(out_.data() + at, &bits, sizeof bits);
}

void Writer::long_uvarint(uint32_t value) {
  std::byte* start = grow(kMaxVarint32Size);
  size_ -= static_cast<size_t>(start + kMaxVarint32Size - write_varint(start, value));
}

void Writer::append(Bytes bytes) {
  if (!bytes.empty()) std::memcpy(grow(bytes.size()), bytes.data(), bytes.size());
}

void Writer::begin(int16_t version, bool flexible) {
  version_ = version;
  flexible_ = flexible;
  message_start_ = size_;
  wrong_ = nullptr;
  if (taken_) splices_.clear();
  taken_ = false;
}

Result<> Writer::end() {
  if (wrong_ == nullptr) return {};
  size_ = message_start_;
  std::erase_if(splices_, [this](const Splice& splice) { return splice.at > message_start_; });
  return millrace::fail(ErrorCode::kUnsupportedVersion,
                        fmt::format("field {} {} (version {})", wrong_name_, wrong_, version_));
}

void Writer::write(std::string_view value, bool) {
  if (value.size() > kMaxStringSize) return fail(name_, "is a string of more than 32767 bytes");
  if (flexible_) {
    uvarint(static_cast<uint32_t>(value.size()) + 1);
  } else {
    integer(static_cast<int16_t>(value.size()));
  }
  append(as_bytes(value));
}

void Writer::write(Bytes value, bool) {
  write_length(static_cast<int64_t>(value.size()));
  append(value);
}

void Writer::write(const Records& value, bool nullable) {
  if (!value.external) return write(value.bytes, nullable);
  write_length(static_cast<int64_t>(value.external_size));
  splices_.push_back({.at = size_, .size = value.external_size, .id = value.external_id});
}

void Writer::enlarge(size_t size) { out_.resize(std::max(out_.size() * 2, size_ + size)); }

void Writer::fail(const char* name, const char* what) {
  if (wrong_ != nullptr) return;
  wrong_ = what;
  wrong_name_ = name;
}

void Writer::write_length(int64_t length) {
  if (length >= std::numeric_limits<int32_t>::max()) return fail(name_, "is longer than 2 GiB");
  if (flexible_) {
    uvarint(static_cast<uint32_t>(length + 1));
  } else {
    integer(static_cast<int32_t>(length));
  }
}

void Writer::put_size_before(size_t start) {
  const size_t value_size = size_ - start;
  const size_t length_size = varint_size(value_size);
  grow(length_size);
  std::byte* place = out_.data() + start;
  std::memmove(place + length_size, place, value_size);
  write_varint(place, value_size);
}

}  // namespace millrace::protocol
