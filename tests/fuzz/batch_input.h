// Inputs of the targets that read record batches. Random bytes would never get past the CRC, nor into what is
// compressed, so an input's first byte can say: compress the records and put length, codec and CRC right.
#pragma once

#include <vector>

#include "protocol/bytes.h"

namespace millrace::fuzz {

// The batch that an input describes. First byte: 0 to 4 a codec, otherwise the rest as it is.
Buffer batch_of_input(Bytes input);

// Inputs of that form with one to a few records, for each codec, and batches as they are.
std::vector<Buffer> batch_seeds();
// Sound batches as they are.
std::vector<Buffer> plain_batches();

}  // namespace millrace::fuzz
