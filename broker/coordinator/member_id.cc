#include "broker/coordinator/member_id.h"

#include "protocol/utf8.h"

namespace millrace::coordinator {

bool has_room_for_member_id(const JoinGroup& join) {
  return !join.member.empty() || join.instance.value_or(join.client_id).size() <= kMaxMemberIdPrefix;
}

std::string loggable(std::string_view id) {
  constexpr size_t kMost = 100;
  return protocol::printable(id.substr(0, kMost)) + (id.size() > kMost ? "..." : "");
}

std::string member_id(std::string_view prefix, const Uuid& uuid) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string id(prefix);
  id += '-';
  for (size_t i = 0; i < uuid.bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) id += '-';
    const auto byte = std::to_integer<unsigned>(uuid.bytes[i]);
    id += kDigits[byte >> 4];
    id += kDigits[byte & 15];
  }
  return id;
}

}  // namespace millrace::coordinator
