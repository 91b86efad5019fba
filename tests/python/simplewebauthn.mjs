// Gives ceremonies to @simplewebauthn/server: a JSON list of them on standard input, a list of verdicts on standard output, each
// `null` for what is accepted, or why it is not.

import { verifyAuthenticationResponse, verifyRegistrationResponse } from "@simplewebauthn/server";

async function verdict({ kind, credential, challenge, origin, rpId, mustVerifyUser, publicKey, counter }) {
  const options = {
    response: credential,
    expectedChallenge: challenge,
    expectedOrigin: [origin],
    expectedRPID: rpId,
    requireUserVerification: mustVerifyUser,
  };
  try {
    const stored = { id: credential.id, publicKey: Buffer.from(publicKey ?? "", "base64url"), counter };
    const { verified } =
      kind === "registration"
        ? await verifyRegistrationResponse({ ...options, supportedAlgorithmIDs: [-8, -7, -257] })
        : await verifyAuthenticationResponse({ ...options, credential: stored });
    return verified ? null : "not verified";
  } catch (error) {
    return `${error.message}`;
  }
}

let input = "";
for await (const chunk of process.stdin) input += chunk;
const verdicts = [];
for (const ceremony of JSON.parse(input)) verdicts.push(await verdict(ceremony));
process.stdout.write(JSON.stringify(verdicts));
