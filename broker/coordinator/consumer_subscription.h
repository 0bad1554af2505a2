// The little of the consumer protocol's subscription format that a coordinator reads: which topics a member
// wants.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"

namespace millrace::coordinator {

// Topics of a ConsumerProtocolSubscription of any version (all start as version 0 does); views into
// `metadata`. Nothing when the bytes are something else.
std::optional<std::vector<std::string_view>> subscribed_topics(Bytes metadata);

}  // namespace millrace::coordinator
