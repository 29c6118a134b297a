-- digits.lua: a small convolutional net on scikit-learn's 8x8 digits (1,797 of them, 4 bits a pixel).
-- moth scripts/examples/digits.lua [EPOCHS]
local safetensors = require "safetensors"
local here = arg[0]:match("^(.*)/[^/]*$") or "."
local epochs = tonumber(arg[1] or 10)
torch.manual_seed(0)

local file = safetensors.load_file(here .. "/../../tests/data/digits/digits.safetensors")
local packed = file.pixels:long()
local pixels = torch.stack({ packed // 16, packed % 16 }, -1):reshape(-1, 1, 8, 8):float() / 15
local labels = file.labels:long()
local order = torch.randperm(#labels)
local train, test = order["0:1500"], order["1500:"]

local Net = nn.Module:extend("Net")
function Net:init()
  self.conv1 = nn.Conv2d(1, 16, 3, { padding = 1 })
  self.conv2 = nn.Conv2d(16, 32, 3, { padding = 1 })
  self.pool = nn.MaxPool2d(2)
  self.fc = nn.Linear(32 * 2 * 2, 10)
end
function Net:forward(x)
  x = self.pool(F.relu(self.conv1(x)))
  x = self.pool(F.relu(self.conv2(x)))
  return self.fc(x:flatten(1))
end

local net = Net()
local opt = optim.Adam(net:parameters(), { lr = 3e-3 })

for epoch = 1, epochs do
  local shuffled, total = train[torch.randperm(#train)], 0
  for _, batch in ipairs(shuffled:split(50)) do
    local loss = F.cross_entropy(net(pixels[batch]), labels[batch])
    opt:zero_grad()
    loss:backward()
    opt:step()
    total = total + loss:item() * #batch
  end
  print(("epoch %d: loss %.4f"):format(epoch, total / #train))
end

net:eval()
local right = torch.no_grad(function()
  return net(pixels[test]):argmax(1):eq(labels[test]):sum():item()
end)
print(("accuracy on %d unseen digits: %.1f%%"):format(#test, 100 * right / #test))
assert(right / #test > 0.95, "the digits were not learned")
