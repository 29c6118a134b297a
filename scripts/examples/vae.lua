-- vae.lua: a variational autoencoder of scikit-learn's digits with a latent space of 8 numbers.
local safetensors = require "safetensors"
local here = arg[0]:match("^(.*)/[^/]*$") or "."
torch.manual_seed(0)

local packed = safetensors.load_file(here .. "/../../tests/data/digits/digits.safetensors").pixels:long()
local data = torch.stack({ packed // 16, packed % 16 }, -1):reshape(-1, 64):float() / 15

local VAE = nn.Module:extend("VAE")
function VAE:init(latent)
  self.encoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU())
  self.mean = nn.Linear(128, latent)
  self.log_var = nn.Linear(128, latent)
  self.decoder = nn.Sequential(nn.Linear(latent, 128), nn.ReLU(), nn.Linear(128, 64))
  self.latent = latent
end
function VAE:forward(x)
  local h = self.encoder(x)
  local mean, log_var = self.mean(h), self.log_var(h)
  local z = mean + (log_var * 0.5):exp() * torch.randn_like(mean)
  return self.decoder(z), mean, log_var
end
function VAE:sample(n) return self.decoder(torch.randn(n, self.latent)):sigmoid() end

local vae = VAE(8)
local opt = optim.Adam(vae:parameters(), { lr = 2e-3 })
local first, last

for epoch = 1, 30 do
  local order, total = torch.randperm(#data), 0
  for _, batch in ipairs(order:split(128)) do
    local x = data[batch]
    local logits, mean, log_var = vae(x)
    local rebuilt = F.binary_cross_entropy_with_logits(logits, x, { reduction = "sum" })
    local divergence = (mean:pow(2) + log_var:exp() - log_var - 1):sum() / 2
    local loss = (rebuilt + divergence) / #batch
    opt:zero_grad()
    loss:backward()
    opt:step()
    total = total + loss:item() * #batch
  end
  last = total / #data
  first = first or last
  if epoch % 10 == 0 then print(("epoch %d: loss %.2f"):format(epoch, last)) end
end

local picture = torch.no_grad(function() return vae:sample(1):reshape(8, 8) end)
for _, row in ipairs(picture:tolist()) do
  local line = {}
  for i, v in ipairs(row) do line[i] = v > 0.6 and "##" or v > 0.3 and "++" or "  " end
  print(table.concat(line))
end
assert(last < 0.75 * first, "the loss did not fall")
